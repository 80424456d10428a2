package notify

import (
	"context"
	"net/url"
	"slices"

	"github.com/gitopskit/gitopskit/events"
)

// gitea is the API of Gitea, or Forgejo, for one repository.
type gitea struct {
	caller
	owner, repo string
}

func dialGitea(o RepositoryOptions, takes func(events.Event) bool) (*Sink, *gitea, error) {
	s, r, err := dialRepository(o, forge{name: "Gitea", api: giteaAPI, takes: takes})
	if err != nil {
		return nil, nil, err
	}
	n := len(r.path)
	header := jsonHeader("Authorization", "token "+o.Token)
	return s, &gitea{caller{s.conn, header, nil}, r.path[n-2], r.path[n-1]}, nil
}

// giteaAPI is at /api/v1 of the host, or of the path that comes before owner/name.
func giteaAPI(r repository, given string) (base, problem string) {
	n := len(r.path)
	if n < 2 {
		return "", "the address of the repository must end in owner/name"
	}
	if given != "" {
		return given, ""
	}
	return r.url(append(slices.Clone(r.path[:n-2]), "api", "v1")...), ""
}

// below is an address below the repository.
func (g *gitea) below(elements ...string) *url.URL {
	return g.at(append([]string{"repos", g.owner, g.repo}, elements...)...)
}

type giteaStatus struct {
	State       string `json:"state"`
	Context     string `json:"context"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url"`
}

// NewGiteaStatus shows events as statuses of commits at Gitea or Forgejo. The token may
// write to the repository. The API is at /api/v1 of the repository's host. Events about
// progress are shown as pending.
func NewGiteaStatus(o RepositoryOptions) (*Sink, error) {
	s, g, err := dialGitea(o, concernsKnownCommit)
	if err != nil {
		return nil, err
	}
	return s.statuses(o, statusForge{
		success: "success", failure: "failure", pending: "pending", shown: g.showsStatus, post: g.postStatus,
	}), nil
}

// showsStatus asks for the last status of each context.
func (g *gitea) showsStatus(ctx context.Context, s commitStatus, _ events.Event) (bool, error) {
	var all struct {
		Statuses []struct {
			Status      string `json:"status"`
			Context     string `json:"context"`
			Description string `json:"description"`
		} `json:"statuses"`
	}
	if err := get(ctx, g, query(g.below("commits", s.commit, "status"), "limit", "50"), &all); err != nil {
		return false, err
	}
	for _, there := range all.Statuses {
		if there.Context == s.id {
			return there.Status == s.state && there.Description == s.description, nil
		}
	}
	return false, nil
}

func (g *gitea) postStatus(ctx context.Context, s commitStatus, _ events.Event) error {
	return put(ctx, g, g.below("statuses", s.commit), giteaStatus{
		State: s.state, Context: s.id, Description: s.description, TargetURL: s.target,
	})
}
