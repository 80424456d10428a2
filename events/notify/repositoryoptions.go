package notify

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// RepositoryOptions configures what tells a platform for Git repositories about events:
// commit statuses, comments on change requests, and [NewGitHubDispatch].
type RepositoryOptions struct {
	// Address of the repository, over HTTPS or SSH, as Git takes it. Required. It says
	// where the API is too, unless API is set.
	Address string
	// API is the base URL of the platform's API, where it is not where it usually is
	// for that repository; see each constructor.
	API string
	// Token that may do what is to be done. Over HTTP it needs HTTP.AllowPlainHTTP.
	Token string
	// Username and Password instead of a token, for Bitbucket.
	Username, Password string
	// App instead of a token, for GitHub.
	App *GitHubApp
	// Origin tells what this sink writes from what those of other clusters write about
	// objects of the same name, for instance the UID of what configures it. It may be
	// empty.
	Origin string
	// StatusID computes the id of a commit status, which GitHub calls context and
	// GitLab name. Nil means kind/name/origin in small letters, with the part of Origin
	// before its first dash. An error, or nothing, means that the event is not told.
	StatusID func(events.Event) (string, error)
	// TargetURL is where a commit status leads who clicks on it. Empty means nowhere,
	// or the repository where the platform insists.
	TargetURL string
	// Author is the name under which comments are written. Empty means that the
	// platform is asked for it, which the token has to allow.
	Author string
	// HTTP says how to reach the server.
	HTTP HTTPOptions
}

// forge is what differs between the platforms when they are dialed.
type forge struct {
	name string
	// api checks the path of the repository, and returns the base URL of its API: the
	// one that was given, or else the usual one. The problem is for people.
	api   func(r repository, given string) (base, problem string)
	takes func(events.Event) bool
	login bool // whether a user and a password do
	app   bool // whether a GitHub App does
}

// dialRepository checks the options, and dials the API.
func dialRepository(o RepositoryOptions, f forge) (*Sink, repository, error) {
	r, problem := parseRepository(o.Address)
	if problem == "" {
		problem = o.credentials(f)
	} else {
		problem = "the address of the repository " + problem
	}
	base := ""
	if problem == "" {
		base, problem = f.api(r, o.API)
	}
	if problem != "" {
		return nil, r, optionError(f.name, "%s", problem)
	}
	secrets := []string{o.Token, o.Username, o.Password}
	s, err := dial(setup{name: f.name, address: base, secrets: secrets, takes: f.takes, http: o.HTTP})
	return s, r, err
}

// credentials says what is wrong with them: exactly one kind is needed.
func (o RepositoryOptions) credentials(f forge) string {
	login := o.Username != "" || o.Password != ""
	switch {
	case login && !f.login:
		return "a token is needed, not a user and a password"
	case o.App != nil && !f.app:
		return "a token is needed; only GitHub has GitHub Apps"
	case login && (o.Username == "" || o.Password == ""):
		return "a user needs a password, and a password a user"
	}
	n := 0
	for _, given := range []bool{login, o.App != nil, o.Token != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		return "exactly one kind of credential is needed"
	}
	return ""
}

// caller sends requests with the same credential each.
type caller struct {
	conn
	header http.Header
	// judge looks at an answer; nil means that the status says all.
	judge func(reply post.Reply, err error) error
}

// call sends a request.
func (c *caller) call(ctx context.Context, r request) (post.Reply, error) {
	r.header = c.header
	reply, err := c.do(ctx, r)
	if c.judge != nil && reply.Status != 0 {
		err = c.judge(reply, err)
	}
	return reply, err
}

// api is how a platform is spoken to.
type api interface {
	call(ctx context.Context, r request) (post.Reply, error)
}

// get asks for JSON of at most maxStatuses bytes. What is longer, or is none, leaves v
// as it was.
func get(ctx context.Context, a api, target *url.URL, v any) error {
	reply, err := a.call(ctx, request{method: http.MethodGet, url: target, reply: maxStatuses})
	if err == nil {
		decode(reply.Body, v)
	}
	return err
}

// put posts JSON.
func put(ctx context.Context, a api, target *url.URL, v any) error {
	_, err := a.call(ctx, request{url: target, body: encode(v)})
	return err
}
