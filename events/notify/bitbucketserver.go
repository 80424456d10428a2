package notify

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"github.com/gitopskit/gitopskit/events"
)

// bitbucketServer is the API of Bitbucket Server or Data Center for one repository.
type bitbucketServer struct {
	caller
	project, repo string
}

// NewBitbucketServerStatus shows events as build statuses of commits at a Bitbucket
// Server or Data Center of one's own. The credential is an HTTP access token, or a user
// and a password, and may read the repository. API is the base URL of the server; it is
// derived from an address of the form https://host/scm/project/name.git, and from one
// for SSH where the server has no path of its own. Events about progress are passed
// over.
func NewBitbucketServerStatus(o RepositoryOptions) (*Sink, error) {
	s, r, err := dialRepository(o, forge{name: "Bitbucket Server", api: bitbucketServerAPI, takes: concernsKnownCommit, login: true})
	if err != nil {
		return nil, err
	}
	header := authorized(jsonHeader("X-Atlassian-Token", "no-check"), authorization(o.Token, o.Username, o.Password))
	n := len(r.path)
	b := &bitbucketServer{caller{s.conn, header, nil}, r.path[n-2], r.path[n-1]}
	o.TargetURL = cmp.Or(o.TargetURL, s.at("projects", b.project, "repos", b.repo).String())
	return s.statuses(o, statusForge{success: "SUCCESSFUL", failure: "FAILED", shown: b.shows, post: b.post}), nil
}

func bitbucketServerAPI(r repository, given string) (base, problem string) {
	n := len(r.path)
	scm := slices.Index(r.path, "scm")
	switch {
	case n == 2 && scm < 0: // ssh://git@host:7999/project/name.git
		return cmp.Or(given, r.url()), ""
	case n >= 3 && scm == n-3:
		return cmp.Or(given, r.url(r.path[:scm]...)), ""
	}
	return "", "the address of the repository must end in scm/project/name"
}

func (b *bitbucketServer) builds(commit string) *url.URL {
	return b.at("rest", "api", "latest", "projects", b.project, "repos", b.repo, "commits", commit, "builds")
}

// status has the description in its name too, since that is what people see.
func (b *bitbucketServer) status(s commitStatus, e events.Event) bitbucketStatus {
	return bitbucketStatus{
		Key: bitbucketKey(s.id), State: s.state, Name: fit(shortName(e)+" ["+s.description+"]", 255, perRune),
		Description: s.description, URL: s.target,
	}
}

func (b *bitbucketServer) shows(ctx context.Context, s commitStatus, e events.Event) (bool, error) {
	var there bitbucketStatus
	wanted := b.status(s, e)
	err := get(ctx, b, query(b.builds(s.commit), "key", wanted.Key), &there)
	if missing(err) {
		return false, nil
	}
	there.URL = wanted.URL
	return there == wanted, err
}

func (b *bitbucketServer) post(ctx context.Context, s commitStatus, e events.Event) error {
	return put(ctx, b, b.builds(s.commit), b.status(s, e))
}
