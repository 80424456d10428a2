package git

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// lfsAccess runs git-lfs-authenticate, by which a server says where the large
// files of a repository are and gives a token for them. If it does not say
// where, they are at the address that is guessed from the repository's.
func (t *sshTransport) lfsAccess(ctx context.Context, guess string) (lfsAction, error) {
	const command, most = "git-lfs-authenticate", 64 << 10
	path := strings.TrimPrefix(t.command, service+" ") // quoted
	out, err := t.run(ctx, command+" "+path+" download", most)
	if err != nil {
		return lfsAction{}, err
	}
	var access lfsAction
	if err := json.Unmarshal(out, &access); err != nil {
		return lfsAction{}, fmt.Errorf("%w: %s at %s says nothing that can be understood", ErrProtocol, command, clip(t.name))
	}
	if access.Href == "" {
		access.Href = guess
	}
	access.Href = strings.TrimRight(access.Href, "/")
	access.arrived(time.Now())
	if access.expired() {
		return lfsAction{}, fmt.Errorf("%w: the token from %s has expired already; compare the clocks", ErrLFS, command)
	}
	return access, nil
}

// run runs a command on the server, and returns what it printed.
func (t *sshTransport) run(ctx context.Context, command string, most int64) ([]byte, error) {
	client, stop, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	var stderr tail
	session.Stderr = &stderr
	if err := session.Start(command); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	out, err := io.ReadAll(io.LimitReader(stdout, most+1))
	if int64(len(out)) > most {
		return nil, fmt.Errorf("%w: the server says more than %d bytes where to find large files", ErrProtocol, most)
	}
	if err == nil {
		err = session.Wait()
	}
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return out, nil
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%w: the server does not say where large files are: %s; it may have none over SSH, then use its https address",
			ErrLFS, stderr.String())
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
}
