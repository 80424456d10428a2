package notify

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gitopskit/gitopskit/events"
)

// maxStatuses is how much is read of the statuses that a commit has already, in bytes.
const maxStatuses = 1 << 20

// commitStatus is what a platform is to show beside a commit.
type commitStatus struct {
	commit, id, state, description, target string
}

// statusForge is how a platform keeps commit statuses.
type statusForge struct {
	success, failure string
	pending          string // empty where work that has not ended is not shown
	// shown reports whether the commit has this status already.
	shown func(ctx context.Context, s commitStatus, e events.Event) (bool, error)
	post  func(ctx context.Context, s commitStatus, e events.Event) error
}

// concernsKnownCommit reports whether a commit's status should be updated. A failure
// that names no commit concerns none.
func concernsKnownCommit(e events.Event) bool {
	if !concernsCommit(e) {
		return false
	}
	return !isNews(e) || Metadata(e, MetaCommit) != "" || commitOf(e) != ""
}

// statuses makes the sink show events as statuses. One that is there already is not
// posted again.
func (s *Sink) statuses(o RepositoryOptions, f statusForge) *Sink {
	takes := s.takes
	s.takes = func(e events.Event) bool {
		return takes(e) && (f.pending != "" || e.Reason != reasonProgressing)
	}
	s.send = func(ctx context.Context, e events.Event) error {
		status, err := s.newStatus(o, f, e)
		if err != nil {
			return err
		}
		if there, err := f.shown(ctx, status, e); there || err != nil {
			return err
		}
		return f.post(ctx, status, e)
	}
	return s
}

func (c conn) newStatus(o RepositoryOptions, f statusForge, e events.Event) (commitStatus, error) {
	status := commitStatus{
		commit: commitOf(e), state: f.success, target: o.TargetURL,
		description: fit(words(e.Reason), 140, perRune), // GitHub's limit, the least of all
	}
	switch {
	case e.Reason == reasonProgressing:
		status.state = f.pending
	case isError(e):
		status.state = f.failure
	}
	if status.commit == "" {
		return status, c.fail(true, "the event's metadata name no commit, as commit, originRevision or revision")
	}
	id, err := o.statusID(e)
	if err != nil {
		return status, &events.SendError{Target: c.target(), Final: true, Reason: "the id of the commit status cannot be computed", Err: err}
	}
	if status.id = fit(plain(id), 255, perRune); strings.TrimSpace(status.id) == "" {
		return status, c.fail(true, "the id of the commit status is empty")
	}
	return status, nil
}

func (o RepositoryOptions) statusID(e events.Event) (string, error) {
	if o.StatusID != nil {
		return o.StatusID(e)
	}
	origin, _, _ := strings.Cut(o.Origin, "-")
	if origin != "" {
		origin = "/" + strings.ToLower(origin)
	}
	return shortName(e) + origin, nil
}

// missing reports whether the platform says that there is no such thing.
func missing(err error) bool {
	fail := (*events.SendError)(nil)
	return errors.As(err, &fail) && fail.Status == http.StatusNotFound
}

// query is an address with a query.
func query(u *url.URL, pairs ...string) *url.URL {
	q := u.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	with := *u
	with.RawQuery = q.Encode()
	return &with
}
