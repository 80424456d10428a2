package notify

import (
	"context"
	"errors"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// A TokenSource returns a token that is valid now. It is called for each event, from
// several goroutines, so it should keep what it has until that expires.
type TokenSource func(ctx context.Context) (string, error)

// issue asks for a token. The error wraps that of the source, but does not repeat it:
// it may hold a secret.
func (c conn) issue(ctx context.Context, source TokenSource) (string, error) {
	token, err := source(ctx)
	if err != nil {
		var t interface{ Terminal() bool }
		return "", &events.SendError{
			Target: c.target(), Reason: "the token source failed", Final: errors.As(err, &t) && t.Terminal(), Err: err,
		}
	}
	if token == "" || !post.ValidHeader(token) {
		return "", c.fail(true, "the token source gives no token, or one that no header takes")
	}
	return token, nil
}
