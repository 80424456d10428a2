package notify

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// gitLab is the API of GitLab for one project.
type gitLab struct {
	caller
	project string
}

func dialGitLab(o RepositoryOptions, takes func(events.Event) bool) (*Sink, *gitLab, error) {
	s, r, err := dialRepository(o, forge{name: "GitLab", api: gitLabAPI, takes: takes})
	if err != nil {
		return nil, nil, err
	}
	header := jsonHeader("Authorization", bearer(o.Token)) // personal and project tokens too
	return s, &gitLab{caller{s.conn, header, gitLabLimits}, gitLabProject(s.base, r)}, nil
}

// gitLabProject is the path of the project: all of the address's but the path, if there
// is one, below which GitLab is.
func gitLabProject(api *url.URL, r repository) string {
	project := strings.Join(r.path, "/")
	if above, ok := strings.CutSuffix(strings.Trim(api.Path, "/"), "/api/v4"); ok && api.Host == r.host {
		project = strings.TrimPrefix(project, above+"/")
	}
	return project
}

// gitLabAPI is at /api/v4 of the host, where nothing else is given: a GitLab below a path
// cannot be told from a group.
func gitLabAPI(r repository, given string) (base, problem string) {
	if len(r.path) < 2 {
		return "", "the address of the repository must end in group/name"
	}
	return cmp.Or(given, r.url("api", "v4")), ""
}

func gitLabLimits(reply post.Reply, err error) error { return resets(reply, err, "Ratelimit-Reset") }

// below is an address below the project, whose path is one element of that address.
func (g *gitLab) below(elements ...string) *url.URL {
	return g.at(append([]string{"projects", g.project}, elements...)...)
}

type gitLabStatus struct {
	Name        string `json:"name"`
	State       string `json:"state"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url,omitempty"`
}

// NewGitLabStatus shows events as statuses of commits at GitLab. The token has the scope
// api and the role of a developer. The API is at /api/v4 of the repository's host.
// Events about progress are passed over.
func NewGitLabStatus(o RepositoryOptions) (*Sink, error) {
	s, g, err := dialGitLab(o, concernsKnownCommit)
	if err != nil {
		return nil, err
	}
	return s.statuses(o, statusForge{success: "success", failure: "failed", shown: g.showsStatus, post: g.postStatus}), nil
}

// showsStatus asks for the last status of that name.
func (g *gitLab) showsStatus(ctx context.Context, s commitStatus, _ events.Event) (bool, error) {
	var all []struct {
		Name        string `json:"name"`
		Status      string `json:"status"`
		Description string `json:"description"`
	}
	err := get(ctx, g, query(g.below("repository", "commits", s.commit, "statuses"), "name", s.id), &all)
	for _, there := range all {
		if there.Name == s.id && there.Status == s.state && there.Description == s.description {
			return true, nil
		}
	}
	if missing(err) { // a commit without statuses, in some versions
		return false, nil
	}
	return false, err
}

func (g *gitLab) postStatus(ctx context.Context, s commitStatus, _ events.Event) error {
	return put(ctx, g, g.below("statuses", s.commit), gitLabStatus{
		Name: s.id, State: s.state, Description: s.description, TargetURL: s.target,
	})
}
