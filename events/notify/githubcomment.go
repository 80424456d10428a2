package notify

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// NewGitHubComment keeps a comment for each object on the pull request that its events
// name in their metadata, as change_request. The token may write issues or pull
// requests. The API is where that of [NewGitHubStatus] is.
func NewGitHubComment(o RepositoryOptions) (*Sink, error) {
	s, g, err := dialGitHub(o, concernsChange, nil)
	if err != nil {
		return nil, err
	}
	return s.comments(o, commentForge{
		api: g, method: http.MethodPatch, author: g.login, read: readLogins,
		list: func(number string, page int) *url.URL {
			return query(g.below("issues", number, "comments"), "per_page", strconv.Itoa(commentsPerPage), "page", strconv.Itoa(page))
		},
		create: func(number string) *url.URL { return g.below("issues", number, "comments") },
		edit:   func(_ string, id int64) *url.URL { return g.below("issues", "comments", decimal(id)) },
	}), nil
}

// login asks under which name the credential writes.
func (g *gitHub) login(ctx context.Context) (string, error) {
	if g.app != nil {
		return g.app.login(ctx)
	}
	var user struct {
		Login string `json:"login"`
	}
	err := get(ctx, g, g.at("user"), &user)
	return user.Login, err
}

// readLogins reads comments of GitHub and Gitea.
func readLogins(body []byte) ([]comment, bool) {
	var all []struct {
		ID   int64  `json:"id"`
		Body string `json:"body"`
		User struct {
			Login string `json:"login"`
		} `json:"user"`
	}
	if !decode(body, &all) {
		return nil, false
	}
	out := make([]comment, 0, len(all))
	for _, c := range all {
		out = append(out, comment{c.ID, c.User.Login, c.Body})
	}
	return out, true
}
