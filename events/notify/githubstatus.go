package notify

import (
	"context"

	"github.com/gitopskit/gitopskit/events"
)

type gitHubStatus struct {
	State       string `json:"state"`
	Context     string `json:"context"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url,omitempty"`
}

// NewGitHubStatus shows events as statuses of commits at GitHub. The token may read and
// write commit statuses. The API is at https://api.github.com, or at /api/v3 of a server
// of one's own. Events about progress are passed over.
func NewGitHubStatus(o RepositoryOptions) (*Sink, error) {
	s, g, err := dialGitHub(o, concernsKnownCommit, map[string]string{"statuses": "write"})
	if err != nil {
		return nil, err
	}
	return s.statuses(o, statusForge{success: "success", failure: "failure", shown: g.showsStatus, post: g.postStatus}), nil
}

// showsStatus asks for the last status of each context, of which GitHub gives the first
// hundred.
func (g *gitHub) showsStatus(ctx context.Context, s commitStatus, _ events.Event) (bool, error) {
	var all struct {
		Statuses []gitHubStatus `json:"statuses"`
	}
	if err := get(ctx, g, query(g.below("commits", s.commit, "status"), "per_page", "100"), &all); err != nil {
		return false, err
	}
	for _, there := range all.Statuses {
		if there.Context == s.id {
			return there.State == s.state && there.Description == s.description, nil
		}
	}
	return false, nil
}

func (g *gitHub) postStatus(ctx context.Context, s commitStatus, _ events.Event) error {
	return put(ctx, g, g.below("statuses", s.commit), gitHubStatus{
		State: s.state, Context: s.id, Description: s.description, TargetURL: s.target,
	})
}
