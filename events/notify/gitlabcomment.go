package notify

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// NewGitLabComment keeps a note for each object on the merge request that its events name
// in their metadata, as change_request. The token has the scope api and the role of a
// reporter. The API is where that of [NewGitLabStatus] is.
func NewGitLabComment(o RepositoryOptions) (*Sink, error) {
	s, g, err := dialGitLab(o, concernsChange)
	if err != nil {
		return nil, err
	}
	return s.comments(o, commentForge{
		api: g, method: http.MethodPut, author: g.login, read: readNotes,
		list: func(number string, page int) *url.URL {
			return query(g.below("merge_requests", number, "notes"), "sort", "asc", "order_by", "created_at",
				"per_page", strconv.Itoa(commentsPerPage), "page", strconv.Itoa(page))
		},
		create: func(number string) *url.URL { return g.below("merge_requests", number, "notes") },
		edit:   func(number string, id int64) *url.URL { return g.below("merge_requests", number, "notes", decimal(id)) },
	}), nil
}

// login asks under which name the token writes.
func (g *gitLab) login(ctx context.Context) (string, error) {
	var user struct {
		Username string `json:"username"`
	}
	err := get(ctx, g, g.at("user"), &user)
	return user.Username, err
}

func readNotes(body []byte) ([]comment, bool) {
	var all []struct {
		ID     int64  `json:"id"`
		Body   string `json:"body"`
		Author struct {
			Username string `json:"username"`
		} `json:"author"`
	}
	if !decode(body, &all) {
		return nil, false
	}
	out := make([]comment, 0, len(all))
	for _, c := range all {
		out = append(out, comment{c.ID, c.Author.Username, c.Body})
	}
	return out, true
}
