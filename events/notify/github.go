package notify

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// gitHub is the API of GitHub for one repository.
type gitHub struct {
	conn
	owner, repo string
	token       string
	app         *gitHubTokens // nil with a token
}

// dialGitHub checks the options. permissions are those that an app's tokens are asked
// for; none means all that the app has.
func dialGitHub(o RepositoryOptions, takes func(events.Event) bool, permissions map[string]string) (*Sink, *gitHub, error) {
	s, r, err := dialRepository(o, forge{name: "GitHub", api: gitHubAPI, takes: takes, app: true})
	if err != nil {
		return nil, nil, err
	}
	g := &gitHub{conn: s.conn, owner: r.path[0], repo: r.path[1], token: o.Token}
	if o.App != nil {
		g.app, err = newGitHubTokens(g, *o.App, permissions)
	}
	return s, g, err
}

// gitHubAPI is at api.github.com for github.com, at api.<host> for a data residency
// <name>.ghe.com, and at <host>/api/v3 for a server of one's own.
func gitHubAPI(r repository, given string) (base, problem string) {
	if len(r.path) != 2 {
		return "", "the address of the repository must end in owner/name"
	}
	switch {
	case given != "":
		return given, ""
	case r.host == "github.com" || r.host == "www.github.com":
		return "https://api.github.com", ""
	case strings.HasSuffix(r.host, ".ghe.com"):
		return r.scheme + "://api." + strings.TrimPrefix(r.host, "api."), ""
	}
	return r.url("api", "v3"), ""
}

// below is an address below the repository.
func (g *gitHub) below(elements ...string) *url.URL {
	return g.at(append([]string{"repos", g.owner, g.repo}, elements...)...)
}

// call sends a request with a token. A token of an app that is refused although it
// should still be valid is asked for once more.
func (g *gitHub) call(ctx context.Context, r request) (post.Reply, error) {
	r.reply = max(r.reply, post.MaxReply) // it may say that there is a limit
	for again := false; ; again = true {
		token, cached := g.token, false
		if g.app != nil {
			var err error
			if token, cached, err = g.app.token(ctx); err != nil {
				return post.Reply{}, err
			}
		}
		r.header = gitHubHeader(token)
		reply, err := g.do(ctx, r)
		if reply.Status != http.StatusUnauthorized || !cached || again {
			return reply, gitHubLimits(reply, err)
		}
		if err := g.app.forget(ctx, token); err != nil {
			return post.Reply{}, err
		}
	}
}

func gitHubHeader(token string) http.Header {
	return jsonHeader("Authorization", bearer(token), "Accept", "application/vnd.github+json", "X-GitHub-Api-Version", "2022-11-28")
}

// gitHubLimits tells a limit of requests, which comes back, from a lack of rights, which
// does not: GitHub answers 403 or 429 to both limits.
func gitHubLimits(reply post.Reply, err error) error {
	if reply.Status != http.StatusForbidden && reply.Status != http.StatusTooManyRequests {
		return err
	}
	fail := (*events.SendError)(nil)
	if !errors.As(err, &fail) {
		return err
	}
	switch {
	case fail.After > 0: // the secondary limit
		return again(err)
	case reply.Header.Get("X-Ratelimit-Remaining") == "0":
		at, _ := strconv.ParseInt(reply.Header.Get("X-Ratelimit-Reset"), 10, 64)
		return asked(again(err), max(untilReset(at), 1))
	case fail.Final && strings.Contains(strings.ToLower(string(reply.Body)), "secondary rate limit"):
		const advised = 60 // seconds
		return asked(again(err), advised)
	}
	return err
}
