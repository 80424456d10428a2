package notify

import (
	"context"

	"github.com/gitopskit/gitopskit/events"
)

type gitHubDispatch struct {
	EventType string       `json:"event_type"`
	Payload   events.Event `json:"client_payload"`
}

// NewGitHubDispatch starts workflows of a repository at GitHub that wait for
// repository_dispatch, of the type Kind/name.namespace and with the event as the
// client_payload. The token may write contents. StatusID, TargetURL and Author mean
// nothing here.
func NewGitHubDispatch(o RepositoryOptions) (*Sink, error) {
	s, g, err := dialGitHub(o, isNews, map[string]string{"contents": "write"})
	if err != nil {
		return nil, err
	}
	s.send = func(ctx context.Context, e events.Event) error {
		_, err := g.call(ctx, request{url: g.below("dispatches"), body: newGitHubDispatch(e)})
		return err
	}
	return s, nil
}

// newGitHubDispatch keeps within 100 characters of type and 64 KiB of payload: the
// message is shortened, and metadata that is still too much is left out.
func newGitHubDispatch(e events.Event) []byte {
	const room = 60 << 10
	obj := e.InvolvedObject
	d := gitHubDispatch{EventType: fit(plain(obj.Kind+"/"+obj.Name+"."+obj.Namespace), 100, perRune), Payload: Clean(e)}
	body := encode(d)
	if len(body) <= room {
		return body
	}
	metadata := map[string]string{}
	left := room / 2
	for _, f := range details(e, 200, 1024, 8<<10) {
		if left -= width(f.key+f.value, perJSON) + len(`"":"",`); left < 0 {
			break
		}
		metadata[f.key] = f.value
	}
	d.Payload.Metadata = metadata
	d.Payload.Message = fit(plain(e.Message), room/4, perJSON)
	return encode(d)
}
