package notify

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// NewGiteaComment keeps a comment for each object on the pull request of Gitea or Forgejo
// that its events name in their metadata, as change_request. The token may write issues.
// The API is where that of [NewGiteaStatus] is.
func NewGiteaComment(o RepositoryOptions) (*Sink, error) {
	s, g, err := dialGitea(o, concernsChange)
	if err != nil {
		return nil, err
	}
	return s.comments(o, commentForge{
		api: g, method: http.MethodPatch, author: g.login, read: readLogins,
		list: func(number string, page int) *url.URL {
			return query(g.below("issues", number, "comments"), "limit", strconv.Itoa(commentsPerPage), "page", strconv.Itoa(page))
		},
		create: func(number string) *url.URL { return g.below("issues", number, "comments") },
		edit:   func(_ string, id int64) *url.URL { return g.below("issues", "comments", decimal(id)) },
	}), nil
}

// login asks under which name the token writes.
func (g *gitea) login(ctx context.Context) (string, error) {
	var user struct {
		Login string `json:"login"`
	}
	err := get(ctx, g, g.at("user"), &user)
	return user.Login, err
}
