package notify_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
	"github.com/gitopskit/gitopskit/internal/hooktest"
)

// opsKey is the SHA-1 of opsID, in which Bitbucket has room for 40 characters.
const (
	opsID  = "kustomization/web/9a8b7c6d"
	opsKey = "d25ad9bdd44d8e2085224f7754bdb4b9228cbfdc"
)

// opsRepository names a repository at a server of the test.
func opsRepository(server string) notify.RepositoryOptions {
	return notify.RepositoryOptions{Address: server + "/acme/shop.git", Token: canary, Origin: "9a8b7c6d-1111-2222", HTTP: local}
}

// opsWith makes options for a server.
func opsWith(server, path string, change func(*notify.RepositoryOptions)) notify.RepositoryOptions {
	o := opsRepository(server)
	if path != "" {
		o.Address = server + path
	}
	if change != nil {
		change(&o)
	}
	return o
}

type opsMake = func(notify.RepositoryOptions) (*notify.Sink, error)

func opsNew(make opsMake, path string, change func(*notify.RepositoryOptions)) func(string) (events.Sink, error) {
	return func(server string) (events.Sink, error) { return make(opsWith(server, path, change)) }
}

func TestCommitStatuses(t *testing.T) {
	limited := map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}
	opsConform(t, hooktest.Provider{
		Name: "GitHub", New: opsNew(notify.NewGitHubStatus, "", nil), Asks: 1, OK: hooktest.Answer{Body: `{"statuses":[]}`},
		Path: "/api/v3/repos/acme/shop/statuses/" + opsHash,
		Header: map[string]string{
			"Authorization": "Bearer " + canary, "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28",
		},
		Body:  `{"state": "failure", "context": "` + opsID + `", "description": "health check failed"}`,
		Final: []hooktest.Answer{{Status: 403, Body: `{"message":"Resource not accessible by integration"}`}, {Status: 422}},
		Retry: []hooktest.Answer{
			{Status: 403, Header: limited, Wait: 30 * time.Second},
			{Status: 429, Header: limited, Wait: 30 * time.Second},
			{Status: 403, Header: map[string]string{"Retry-After": "9"}, Wait: 9 * time.Second},
			{Status: 403, Body: `{"message":"You have exceeded a secondary rate limit."}`, Wait: time.Minute},
		},
	}, hooktest.Provider{
		Name: "GitLab", Asks: 1, OK: hooktest.Answer{Body: `[]`},
		New:    opsNew(notify.NewGitLabStatus, "/acme/team/shop.git", func(o *notify.RepositoryOptions) { o.TargetURL = "https://ci.example.com/1" }),
		Path:   "/api/v4/projects/acme%2Fteam%2Fshop/statuses/" + opsHash,
		Header: map[string]string{"Authorization": "Bearer " + canary},
		Body:   `{"state": "failed", "name": "` + opsID + `", "description": "health check failed", "target_url": "https://ci.example.com/1"}`,
		Retry:  []hooktest.Answer{{Status: 429, Header: map[string]string{"RateLimit-Reset": "21"}, Wait: 21 * time.Second}},
		Final:  []hooktest.Answer{{Status: 403}, {Status: 400, Body: `{"message":"Cannot transition status"}`}},
	}, hooktest.Provider{
		Name: "Gitea", New: opsNew(notify.NewGiteaStatus, "/git/acme/shop", nil), Asks: 1, OK: hooktest.Answer{Body: `{"statuses":null}`},
		Path:   "/git/api/v1/repos/acme/shop/statuses/" + opsHash,
		Header: map[string]string{"Authorization": "token " + canary},
		Body:   `{"state": "failure", "context": "` + opsID + `", "description": "health check failed", "target_url": ""}`,
	}, hooktest.Provider{
		Name: "Bitbucket", Asks: 1, OK: hooktest.Answer{Body: `{}`},
		New: func(server string) (events.Sink, error) {
			return notify.NewBitbucketStatus(opsWith("https://bitbucket.org", "", func(o *notify.RepositoryOptions) {
				o.API, o.Token = server+"/2.0", "bob:"+canary
			}))
		},
		Path:   "/2.0/repositories/acme/shop/commit/" + opsHash + "/statuses/build",
		Header: map[string]string{"Authorization": opsBasic("bob", canary)},
		Body: `{
			"key": "` + opsKey + `", "state": "FAILED", "name": "kustomization/web", "description": "health check failed",
			"url": "https://bitbucket.org"
		}`,
	}, hooktest.Provider{
		Name: "Bitbucket Server", New: opsNew(notify.NewBitbucketServerStatus, "/ctx/scm/ACME/shop.git", nil), Asks: 1, OK: hooktest.Answer{Body: `{}`},
		Path:   "/ctx/rest/api/latest/projects/ACME/repos/shop/commits/" + opsHash + "/builds",
		Header: map[string]string{"Authorization": "Bearer " + canary, "X-Atlassian-Token": "no-check"},
		Check: func(t *testing.T, r hooktest.Request) {
			var got map[string]string
			opsStrict(t, r.Body, &got)
			require.Regexp(t, `^http://127\.0\.0\.1:\d+/ctx/projects/ACME/repos/shop$`, got["url"])
			delete(got, "url")
			require.Equal(t, map[string]string{
				"key": opsKey, "state": "FAILED", "name": "kustomization/web [health check failed]", "description": "health check failed",
			}, got)
		},
	}, hooktest.Provider{
		Name: "Azure DevOps", New: opsNew(notify.NewAzureDevOpsStatus, "/acme/My%20Project/_git/shop", nil), Asks: 1, OK: hooktest.Answer{Body: `{"value":[]}`},
		Event:  opsEvent(func(e *events.Event) { e.Metadata["summary"] = "prod" }),
		Path:   "/acme/My%20Project/_apis/git/repositories/shop/commits/" + opsHash + "/statuses",
		Query:  url.Values{"api-version": {"6.0"}},
		Header: map[string]string{"Authorization": opsBasic("", canary)},
		Body:   `{"state": "error", "description": "health check failed", "context": {"name": "` + opsID + `", "genre": "fluxcd:prod"}}`,
		Final:  []hooktest.Answer{{Status: 203, Body: "<html>sign in</html>"}},
	}, hooktest.Provider{
		Name: "GitHub dispatch", New: opsNew(notify.NewGitHubDispatch, "", nil), OK: hooktest.Answer{Status: 204},
		Path:   "/api/v3/repos/acme/shop/dispatches",
		Header: map[string]string{"Authorization": "Bearer " + canary},
		Body:   `{"event_type": "Kustomization/web.shop", "client_payload": ` + opsWhole(t) + `}`,
	})
}

func TestComments(t *testing.T) {
	about := opsEvent(func(e *events.Event) { e.Metadata[notify.MetaChangeRequest] = "42" })
	author := func(o *notify.RepositoryOptions) { o.Author = "bot" }
	body := func(t *testing.T, r hooktest.Request) {
		var got struct {
			Body string `json:"body"`
		}
		opsStrict(t, r.Body, &got)
		require.Equal(t, "<!-- gitops-comment:9a8b7c6d-1111-2222/Kustomization/shop/web -->\n\n"+
			"⚠️ ` Kustomization shop/web `: ` HealthCheckFailed `\n\n"+
			"```\nhealth check failed: <Deployment> \"shop/web\" & *more* @all\n```\n\n"+
			"- ` env `: ` prod `\n- ` revision `: ` "+opsRevision+" `", got.Body)
	}
	opsConform(t, hooktest.Provider{
		Name: "GitHub", New: opsNew(notify.NewGitHubComment, "", author), Event: about, Asks: 1, OK: hooktest.Answer{Body: `[]`},
		Path: "/api/v3/repos/acme/shop/issues/42/comments", Header: map[string]string{"Authorization": "Bearer " + canary}, Check: body,
	}, hooktest.Provider{
		Name: "GitLab", New: opsNew(notify.NewGitLabComment, "", author), Event: about, Asks: 1, OK: hooktest.Answer{Body: `[]`},
		Path: "/api/v4/projects/acme%2Fshop/merge_requests/42/notes", Header: map[string]string{"Authorization": "Bearer " + canary}, Check: body,
	}, hooktest.Provider{
		Name: "Gitea", New: opsNew(notify.NewGiteaComment, "", author), Event: about, Asks: 1, OK: hooktest.Answer{Body: `[]`},
		Path: "/api/v1/repos/acme/shop/issues/42/comments", Header: map[string]string{"Authorization": "token " + canary}, Check: body,
	})
}

// opsForge is a platform that keeps what it is told. It refuses whatever it does not know.
type opsForge struct {
	t      *testing.T
	routes map[string]func(w http.ResponseWriter, r *http.Request, body []byte)

	mu  sync.Mutex
	log []string
}

func opsStart(t *testing.T) (*opsForge, string) {
	t.Helper()
	f := &opsForge{t: t, routes: map[string]func(http.ResponseWriter, *http.Request, []byte){}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func (f *opsForge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	at := r.Method + " " + r.URL.EscapedPath()
	f.log = append(f.log, at)
	handle := f.routes[at]
	if handle == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	handle(w, r, body)
}

// calls returns what was asked since the last time.
func (f *opsForge) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

func opsWrite(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// A status that is shown already is not posted again; another is.
func TestStatusesAreNotRepeated(t *testing.T) {
	type object = map[string]any
	last := func(all []object) []object { return all[max(len(all)-1, 0):] }
	for name, c := range map[string]struct {
		make       opsMake
		path       string
		api        string // below the server, where it has to be given
		list, post string
		show       func(w http.ResponseWriter, r *http.Request, all []object)
	}{
		"GitHub": {
			make: notify.NewGitHubStatus, path: "/acme/shop.git",
			list: "/api/v3/repos/acme/shop/commits/" + opsHash + "/status", post: "/api/v3/repos/acme/shop/statuses/" + opsHash,
			show: func(w http.ResponseWriter, _ *http.Request, all []object) {
				opsWrite(w, object{"state": "pending", "statuses": last(all)})
			},
		},
		"GitLab": {
			make: notify.NewGitLabStatus, path: "/acme/shop.git",
			list: "/api/v4/projects/acme%2Fshop/repository/commits/" + opsHash + "/statuses", post: "/api/v4/projects/acme%2Fshop/statuses/" + opsHash,
			show: func(w http.ResponseWriter, r *http.Request, all []object) {
				out := []object{}
				for _, s := range last(all) {
					if s["name"] == r.URL.Query().Get("name") {
						out = append(out, object{"id": 1, "sha": opsHash, "status": s["state"], "name": s["name"], "description": s["description"]})
					}
				}
				opsWrite(w, out)
			},
		},
		"Gitea": {
			make: notify.NewGiteaStatus, path: "/acme/shop.git",
			list: "/api/v1/repos/acme/shop/commits/" + opsHash + "/status", post: "/api/v1/repos/acme/shop/statuses/" + opsHash,
			show: func(w http.ResponseWriter, _ *http.Request, all []object) {
				out := []object{}
				for _, s := range last(all) {
					out = append(out, object{"status": s["state"], "context": s["context"], "description": s["description"]})
				}
				opsWrite(w, object{"statuses": out})
			},
		},
		"Bitbucket": {
			make: notify.NewBitbucketStatus, path: "/acme/shop.git", api: "/2.0",
			list: "/2.0/repositories/acme/shop/commit/" + opsHash + "/statuses/build/" + opsKey,
			post: "/2.0/repositories/acme/shop/commit/" + opsHash + "/statuses/build",
			show: func(w http.ResponseWriter, _ *http.Request, all []object) {
				if len(all) == 0 {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				opsWrite(w, last(all)[0])
			},
		},
		"Bitbucket Server": {
			make: notify.NewBitbucketServerStatus, path: "/scm/acme/shop.git",
			list: "/rest/api/latest/projects/acme/repos/shop/commits/" + opsHash + "/builds",
			post: "/rest/api/latest/projects/acme/repos/shop/commits/" + opsHash + "/builds",
			show: func(w http.ResponseWriter, r *http.Request, all []object) {
				if len(all) == 0 || r.URL.Query().Get("key") != opsKey {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				opsWrite(w, last(all)[0])
			},
		},
		"Azure DevOps": {
			make: notify.NewAzureDevOpsStatus, path: "/org/acme/_git/shop",
			list: "/org/acme/_apis/git/repositories/shop/commits/" + opsHash + "/statuses",
			post: "/org/acme/_apis/git/repositories/shop/commits/" + opsHash + "/statuses",
			show: func(w http.ResponseWriter, _ *http.Request, all []object) {
				opsWrite(w, object{"count": 1, "value": last(all)})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			forge, server := opsStart(t)
			var all []object
			forge.routes["GET "+c.list] = func(w http.ResponseWriter, r *http.Request, _ []byte) { c.show(w, r, all) }
			forge.routes["POST "+c.post] = func(w http.ResponseWriter, _ *http.Request, body []byte) {
				var s object
				require.NoError(t, json.Unmarshal(body, &s))
				all = append(all, s)
				w.WriteHeader(http.StatusCreated)
			}
			sink, err := c.make(opsWith(server, c.path, func(o *notify.RepositoryOptions) {
				if c.api != "" {
					o.API = server + c.api
				}
			}))
			require.NoError(t, err)
			defer sink.CloseIdleConnections()
			ask, post := "GET "+c.list, "POST "+c.post
			require.NoError(t, sink.Send(t.Context(), opsEvent()))
			require.Equal(t, []string{ask, post}, forge.calls())
			require.NoError(t, sink.Send(t.Context(), opsEvent()))
			require.Equal(t, []string{ask}, forge.calls(), "it is there already")
			require.NoError(t, sink.Send(t.Context(), opsEvent(opsUpdate)))
			require.Equal(t, []string{ask, post}, forge.calls(), "another state")
			require.NoError(t, sink.Send(t.Context(), opsEvent(func(e *events.Event) { e.InvolvedObject.Name = "db" })))
			require.Contains(t, forge.calls(), post, "another object")
		})
	}
}

func opsUpdate(e *events.Event) {
	opsInfo(e)
	e.Metadata[notify.MetaCommitStatus] = notify.CommitStatusUpdate
}

func TestStatusState(t *testing.T) {
	progress := opsEvent(opsInfo, func(e *events.Event) { e.Reason, e.Metadata["commit"] = "Progressing", opsHash })
	server := hooktest.Start(t, hooktest.Answer{})
	hub, err := notify.NewGitHubStatus(opsRepository(server.URL))
	require.NoError(t, err)
	defer hub.CloseIdleConnections()
	require.False(t, hub.Takes(progress))
	require.NoError(t, hub.Send(t.Context(), progress))
	require.Empty(t, server.Requests())
	tea, err := notify.NewGiteaStatus(opsRepository(server.URL))
	require.NoError(t, err)
	defer tea.CloseIdleConnections()
	require.NoError(t, tea.Send(t.Context(), progress))
	require.Contains(t, server.Requests()[1].Body, `"state":"pending"`)
}

// Which events update a commit's status, and which commit.
func TestStatusRouting(t *testing.T) {
	other := strings.Repeat("b", 40)
	for name, c := range map[string]struct {
		change func(e *events.Event)
		commit string // empty means that the event is passed over
		fails  bool
	}{
		"error":                  {func(*events.Event) {}, opsHash, false},
		"error without a commit": {func(e *events.Event) { e.Metadata = nil }, "", false},
		"error about an OCI artifact": {func(e *events.Event) {
			e.Metadata = map[string]string{"revision": "latest@sha512:" + strings.Repeat("a", 128)}
		}, "", false},
		"news":   {opsInfo, "", false},
		"update": {opsUpdate, opsHash, false},
		"update without a commit": {func(e *events.Event) {
			e.Metadata = map[string]string{"commit_status": "update"}
		}, "", true},
		"commit": {func(e *events.Event) { opsInfo(e); e.Metadata["commit"] = other }, other, false},
		"origin": {func(e *events.Event) {
			e.Metadata["kustomize.toolkit.fluxcd.io/revision"] = "latest@sha256:" + strings.Repeat("c", 64)
			e.Metadata["kustomize.toolkit.fluxcd.io/originRevision"] = "main@sha1:" + other
		}, other, false},
		"commit that is a way out": {func(e *events.Event) { opsInfo(e); e.Metadata = map[string]string{"commit": "../../../user"} }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			server := hooktest.Start(t, hooktest.Answer{Body: "{}"})
			sink, err := notify.NewGitHubStatus(opsRepository(server.URL))
			require.NoError(t, err)
			defer sink.CloseIdleConnections()
			e := opsEvent(c.change)
			err = sink.Send(t.Context(), e)
			require.Equal(t, c.commit != "" || c.fails, sink.Takes(e))
			if c.commit == "" {
				require.Empty(t, server.Requests())
				require.Equal(t, c.fails, err != nil)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "/api/v3/repos/acme/shop/statuses/"+c.commit, server.Requests()[1].Path)
		})
	}
}

func TestStatusID(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Body: "{}"})
	for id, want := range map[string]string{"tenant/web": "tenant/web", strings.Repeat("x", 300): strings.Repeat("x", 254) + "…", "": "", "fails": ""} {
		sink, err := notify.NewGitHubStatus(opsWith(server.URL, "", func(o *notify.RepositoryOptions) {
			o.StatusID = func(events.Event) (string, error) {
				if id == "fails" {
					return "", errors.New(canary)
				}
				return id, nil
			}
		}))
		require.NoError(t, err)
		defer sink.CloseIdleConnections()
		before := len(server.Requests())
		err = sink.Send(t.Context(), opsEvent())
		if want == "" {
			var fail *events.SendError
			require.ErrorAs(t, err, &fail)
			require.True(t, fail.Terminal())
			require.NotContains(t, err.Error(), canary)
			require.Len(t, server.Requests(), before)
			continue
		}
		require.NoError(t, err)
		require.Contains(t, server.Requests()[before+1].Body, `"context":"`+want+`"`)
	}
}

// opsComments is a platform's list of comments.
type opsComments struct {
	all   []map[string]any
	user  string // the field with the author
	whole bool   // there are no pages
}

func (c *opsComments) add(author, body string) {
	c.all = append(c.all, map[string]any{"id": len(c.all) + 1, "body": body, c.user: map[string]any{"login": author, "username": author}})
}

func (c *opsComments) page(w http.ResponseWriter, r *http.Request, _ []byte) {
	size, _ := strconv.Atoi(r.URL.Query().Get("per_page") + r.URL.Query().Get("limit"))
	number, _ := strconv.Atoi(r.URL.Query().Get("page"))
	if c.whole {
		opsWrite(w, c.all)
		return
	}
	from := min((number-1)*size, len(c.all))
	opsWrite(w, c.all[from:min(from+size, len(c.all))])
}

func (c *opsComments) create(author string) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, body []byte) {
		var got map[string]string
		_ = json.Unmarshal(body, &got)
		c.add(author, got["body"])
		w.WriteHeader(http.StatusCreated)
	}
}

func (c *opsComments) edit(id int) func(http.ResponseWriter, *http.Request, []byte) {
	return func(_ http.ResponseWriter, _ *http.Request, body []byte) {
		var got map[string]string
		_ = json.Unmarshal(body, &got)
		c.all[id-1]["body"] = got["body"]
	}
}

// There is one comment for each object. It is changed, not repeated, and one that
// somebody else wrote is never taken for it.
func TestCommentsAreUpdated(t *testing.T) {
	for name, c := range map[string]struct {
		make                   opsMake
		user, whoami           string
		list, edit, editMethod string
		whole                  bool
		others                 int
	}{
		"GitHub":              {notify.NewGitHubComment, "user", "/api/v3/user", "/api/v3/repos/acme/shop/issues/7/comments", "/api/v3/repos/acme/shop/issues/comments/", "PATCH", false, 40},
		"GitLab":              {notify.NewGitLabComment, "author", "/api/v4/user", "/api/v4/projects/acme%2Fshop/merge_requests/7/notes", "/api/v4/projects/acme%2Fshop/merge_requests/7/notes/", "PUT", false, 40},
		"Gitea":               {notify.NewGiteaComment, "user", "/api/v1/user", "/api/v1/repos/acme/shop/issues/7/comments", "/api/v1/repos/acme/shop/issues/comments/", "PATCH", false, 40},
		"Gitea without pages": {notify.NewGiteaComment, "user", "/api/v1/user", "/api/v1/repos/acme/shop/issues/7/comments", "/api/v1/repos/acme/shop/issues/comments/", "PATCH", true, 40},
		"Gitea without pages, with as many as are on one": {notify.NewGiteaComment, "user", "/api/v1/user", "/api/v1/repos/acme/shop/issues/7/comments", "/api/v1/repos/acme/shop/issues/comments/", "PATCH", true, 29},
	} {
		t.Run(name, func(t *testing.T) {
			forge, server := opsStart(t)
			comments := &opsComments{user: c.user, whole: c.whole}
			const marker = "<!-- gitops-comment:9a8b7c6d-1111-2222/Kustomization/shop/web -->"
			comments.add("mallory", marker)
			for i := range c.others {
				comments.add("alice", fmt.Sprintf("comment %d", i))
			}
			forge.routes["GET "+c.whoami] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				opsWrite(w, map[string]string{"login": "bot", "username": "bot"})
			}
			forge.routes["GET "+c.list] = comments.page
			forge.routes["POST "+c.list] = comments.create("bot")
			for id := range 50 {
				forge.routes[c.editMethod+" "+c.edit+strconv.Itoa(id)] = comments.edit(id)
			}
			sink, err := c.make(opsRepository(server))
			require.NoError(t, err)
			defer sink.CloseIdleConnections()
			about := opsEvent(func(e *events.Event) { e.Metadata[notify.MetaChangeRequest] = "7" })
			require.False(t, sink.Takes(opsEvent()))
			require.NoError(t, sink.Send(t.Context(), about))
			require.Len(t, comments.all, c.others+2)
			calls := forge.calls()
			require.Equal(t, "GET "+c.whoami, calls[0])
			require.Equal(t, "POST "+c.list, calls[len(calls)-1])
			opsInfo(&about)
			require.NoError(t, sink.Send(t.Context(), about))
			require.Len(t, comments.all, c.others+2)
			require.Contains(t, comments.all[c.others+1]["body"], "ReconciliationSucceeded")
			calls = forge.calls()
			require.NotContains(t, calls, "GET "+c.whoami, "it is asked once")
			require.Equal(t, c.editMethod+" "+c.edit+strconv.Itoa(c.others+2), calls[len(calls)-1])
			about.InvolvedObject.Name = "db"
			require.NoError(t, sink.Send(t.Context(), about))
			require.Len(t, comments.all, c.others+3)
			require.Equal(t, marker, comments.all[0]["body"])
		})
	}
}

func TestAttackCommentsWithoutEnd(t *testing.T) {
	forge, server := opsStart(t)
	forge.routes["GET /api/v3/repos/acme/shop/issues/7/comments"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		number, _ := strconv.Atoi(r.URL.Query().Get("page"))
		page := make([]map[string]any, 30)
		for i := range page {
			page[i] = map[string]any{"id": 30*number + i, "body": "x", "user": map[string]any{"login": "alice"}}
		}
		opsWrite(w, page)
	}
	sink, err := notify.NewGitHubComment(opsWith(server, "", func(o *notify.RepositoryOptions) { o.Author = "bot" }))
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	err = sink.Send(t.Context(), opsEvent(func(e *events.Event) { e.Metadata[notify.MetaChangeRequest] = "7" }))
	var fail *events.SendError
	require.ErrorAs(t, err, &fail)
	require.True(t, fail.Terminal())
	require.Len(t, forge.calls(), 20)
}

// Names and texts of an event become neither markup nor another path.
func TestAttackEventInAComment(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Body: "[]"})
	sink, err := notify.NewGitLabComment(opsWith(server.URL, "", func(o *notify.RepositoryOptions) { o.Author = "bot" }))
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	for _, number := range []string{"../../user", "7/notes", "7?x", "-7", "+7", "99999999999999999999", ""} {
		e := opsEvent(func(e *events.Event) { e.Metadata[notify.MetaChangeRequest] = number })
		err := sink.Send(t.Context(), e)
		require.Equal(t, number != "", err != nil, number)
	}
	require.Empty(t, server.Requests())
	require.NoError(t, sink.Send(t.Context(), opsEvent(func(e *events.Event) {
		e.Metadata[notify.MetaChangeRequest] = "7"
		e.InvolvedObject.Name = "--> <img src=x> `` @all"
		e.Message = "````\n# title\n@everybody\n\u202e"
		e.Metadata["k`ey"] = "multi\nline"
	})))
	var got struct {
		Body string `json:"body"`
	}
	opsStrict(t, server.Requests()[1].Body, &got)
	marker, text, _ := strings.Cut(got.Body, "\n\n")
	require.Equal(t, 1, strings.Count(marker, "-->"))
	require.True(t, strings.HasSuffix(marker, " -->"))
	require.Contains(t, text, "``` Kustomization shop/--> <img src=x> `` @all ```")
	require.Contains(t, text, "`````\n````\n# title\n@everybody\n\n`````\n")
	require.Contains(t, text, "- `` k`ey ``: ` multi line `")
}

func opsAppKey(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// opsJWT checks the token of an app as GitHub does.
func opsJWT(t *testing.T, key *rsa.PrivateKey, header string) {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(header, "Bearer "), ".")
	require.Len(t, parts, 3)
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	require.NoError(t, rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature))
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var c struct {
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
		Issuer  string `json:"iss"`
	}
	opsStrict(t, string(claims), &c)
	require.Equal(t, "Iv1.abc", c.Issuer)
	require.LessOrEqual(t, c.Expires-c.Issued, int64(600))
	require.Less(t, c.Issued, time.Now().Unix())
	require.Greater(t, c.Expires, time.Now().Unix())
}

func TestGitHubApp(t *testing.T) {
	key, text := opsAppKey(t)
	forge, server := opsStart(t)
	const repo, issue = "/api/v3/repos/acme/shop", "POST /api/v3/app/installations/77/access_tokens"
	tokens, valid := 0, ""
	life := time.Hour
	forge.routes["GET "+repo+"/installation"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		opsJWT(t, key, r.Header.Get("Authorization"))
		opsWrite(w, map[string]int{"id": 77})
	}
	forge.routes[issue] = func(w http.ResponseWriter, r *http.Request, body []byte) {
		opsJWT(t, key, r.Header.Get("Authorization"))
		require.JSONEq(t, `{"repositories":["shop"],"permissions":{"statuses":"write"}}`, string(body))
		tokens++
		valid = fmt.Sprintf("ghs_%s%d", canary, tokens)
		w.WriteHeader(http.StatusCreated)
		opsWrite(w, map[string]any{"token": valid, "expires_at": time.Now().Add(life).UTC().Format(time.RFC3339)})
	}
	refuse := false
	forge.routes["GET "+repo+"/commits/"+opsHash+"/status"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		if refuse || r.Header.Get("Authorization") != "Bearer "+valid {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		opsWrite(w, map[string]any{"statuses": []any{map[string]string{"context": opsID, "state": "failure", "description": "health check failed"}}})
	}
	sink, err := notify.NewGitHubStatus(opsWith(server, "", func(o *notify.RepositoryOptions) {
		o.Token, o.App = "", &notify.GitHubApp{AppID: "Iv1.abc", PrivateKey: text}
	}))
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	send := func() error { return sink.Send(t.Context(), opsEvent()) }
	require.NoError(t, send())
	require.NoError(t, send())
	require.Equal(t, 1, tokens, "a token is kept")
	valid = "revoked"
	require.NoError(t, send())
	require.Equal(t, 2, tokens, "a token that is refused is asked for anew")
	valid, life = "revoked", 30*time.Second
	require.NoError(t, send())
	require.NoError(t, send())
	require.Equal(t, 4, tokens, "one that is about to expire is not used")
	forge.calls()
	life, refuse = time.Hour, true
	var fail *events.SendError
	require.ErrorAs(t, send(), &fail)
	require.True(t, fail.Terminal())
	require.NotContains(t, fail.Error(), canary)
	require.LessOrEqual(t, len(forge.calls()), 6, "there is no loop")
	delete(forge.routes, issue)
	require.ErrorAs(t, send(), &fail)
	require.Equal(t, 404, fail.Status)
}

func TestGitHubAppComments(t *testing.T) {
	_, text := opsAppKey(t)
	forge, server := opsStart(t)
	comments := &opsComments{user: "user"}
	forge.routes["GET /api/v3/app"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		opsWrite(w, map[string]string{"slug": "shop-app"})
	}
	forge.routes["POST /api/v3/app/installations/5/access_tokens"] = func(w http.ResponseWriter, _ *http.Request, body []byte) {
		require.JSONEq(t, `{"repositories":["shop"]}`, string(body))
		opsWrite(w, map[string]any{"token": "ghs_1", "expires_at": time.Now().Add(time.Hour)})
	}
	const list = "/api/v3/repos/acme/shop/issues/7/comments"
	forge.routes["GET "+list], forge.routes["POST "+list] = comments.page, comments.create("shop-app[bot]")
	forge.routes["PATCH /api/v3/repos/acme/shop/issues/comments/1"] = comments.edit(1)
	sink, err := notify.NewGitHubComment(opsWith(server, "", func(o *notify.RepositoryOptions) {
		o.Token, o.App = "", &notify.GitHubApp{AppID: "5", InstallationID: "5", PrivateKey: text}
	}))
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	about := opsEvent(func(e *events.Event) { e.Metadata[notify.MetaChangeRequest] = "7" })
	require.NoError(t, sink.Send(t.Context(), about))
	require.NoError(t, sink.Send(t.Context(), about))
	require.Len(t, comments.all, 1)
}

// GitHub says when a limit ends as the time of a clock.
func TestGitHubLimitThatEndsAtATime(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Status: 403, Header: map[string]string{
		"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(time.Now().Add(10*time.Minute).Unix(), 10),
	}})
	sink, err := notify.NewGitHubStatus(opsRepository(server.URL))
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	var fail *events.SendError
	require.ErrorAs(t, sink.Send(t.Context(), opsEvent()), &fail)
	require.False(t, fail.Terminal())
	require.InDelta(t, 600, fail.RetryAfter().Seconds(), 60)
}

// Who waits for another's token can stop waiting. The key is in PKCS #8.
func TestGitHubAppStopsWaiting(t *testing.T) {
	key, _ := opsAppKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	asked, hold := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-hold
	}))
	defer server.Close()
	defer close(hold)
	sink, err := notify.NewGitHubStatus(opsWith(server.URL, "", func(o *notify.RepositoryOptions) {
		o.Token, o.App = "", &notify.GitHubApp{AppID: "5", PrivateKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
	}))
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	first, stopFirst := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Send(first, opsEvent()) }()
	<-asked
	second, stopSecond := context.WithCancel(t.Context())
	stopSecond()
	require.ErrorIs(t, sink.Send(second, opsEvent()), context.Canceled)
	stopFirst()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestGitHubAppHostile(t *testing.T) {
	_, text := opsAppKey(t)
	for name, answer := range map[string]string{
		"no token":    `{}`,
		"not JSON":    `<html>`,
		"header":      `{"token":"x\r\nX-Evil: 1","expires_at":"2999-01-01T00:00:00Z"}`,
		"endless":     `{"token":"` + strings.Repeat("x", 1<<20) + `"}`,
		"long":        `{"token":"` + strings.Repeat("x", 5000) + `"}`,
		"wrong types": `{"token":7,"expires_at":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			forge, server := opsStart(t)
			forge.routes["POST /api/v3/app/installations/5/access_tokens"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				_, _ = io.WriteString(w, answer)
			}
			sink, err := notify.NewGitHubStatus(opsWith(server, "", func(o *notify.RepositoryOptions) {
				o.Token, o.App = "", &notify.GitHubApp{AppID: "5", InstallationID: "5", PrivateKey: text}
			}))
			require.NoError(t, err)
			defer sink.CloseIdleConnections()
			var fail *events.SendError
			require.ErrorAs(t, sink.Send(t.Context(), opsEvent()), &fail)
			require.False(t, fail.Terminal())
			require.Len(t, forge.calls(), 1)
		})
	}
}

// Where the API of a repository is, and what is no repository.
func TestRepositoryAddresses(t *testing.T) {
	for _, c := range []struct {
		make    opsMake
		address string
		want    string // the platform and its host; empty where it is refused
	}{
		{notify.NewGitHubStatus, "https://github.com/acme/shop", "GitHub at https://api.github.com"},
		{notify.NewGitHubStatus, "git@github.com:acme/shop.git", "GitHub at https://api.github.com"},
		{notify.NewGitHubStatus, "ssh://git@ssh.github.com:443/acme/shop.git", "GitHub at https://api.github.com"},
		{notify.NewGitHubStatus, "https://acme.ghe.com/acme/shop", "GitHub at https://api.acme.ghe.com"},
		{notify.NewGitHubStatus, "https://git.acme.com:8443/acme/shop/", "GitHub at https://git.acme.com:8443"},
		{notify.NewGitHubStatus, "ssh://git@git.acme.com:2222/acme/shop.git", "GitHub at https://git.acme.com"},
		{notify.NewGitHubStatus, "https://github.com/acme", ""},
		{notify.NewGitHubStatus, "https://github.com/acme/../shop", ""},
		{notify.NewGitHubStatus, "https://github.com/acme/%2e%2e", ""},
		{notify.NewGitHubStatus, "https://github.com/acme/a%2Fb", ""},
		{notify.NewGitHubStatus, "https://github.com/acme/.git", ""},
		{notify.NewGitHubStatus, "https://github.com/acme//shop", ""},
		{notify.NewGitHubStatus, "https://github.com/acme/shop?x=y", ""},
		{notify.NewGitHubStatus, "https://bob:" + canary + "@github.com/acme/shop", ""},
		{notify.NewGitHubStatus, "https://" + canary + "@github.com/acme/shop", ""},
		{notify.NewGitHubStatus, "http://github.com/acme/shop", "GitHub at https://api.github.com"},
		{notify.NewGitHubStatus, "http://git.acme.com/acme/shop", ""},
		{notify.NewGitHubStatus, "file:///acme/shop", ""},
		{notify.NewGitHubStatus, "-oProxyCommand=x@h:acme/shop", "GitHub at https://h"},
		{notify.NewGitHubStatus, "git@-h:acme/shop", ""},
		{notify.NewGitHubStatus, "", ""},
		{notify.NewGitHubStatus, "https://github.com/acme/" + strings.Repeat("x", 3000), ""},
		{notify.NewGitLabStatus, "git@gitlab.com:a/b/c/d.git", "GitLab at https://gitlab.com"},
		{notify.NewGitLabStatus, "ssh://git@altssh.gitlab.com:443/a/b", "GitLab at https://gitlab.com"},
		{notify.NewGitLabStatus, "https://gitlab.com/a", ""},
		{notify.NewGiteaComment, "https://codeberg.org/a", ""},
		{notify.NewGitLabComment, "https://gitlab.com", ""},
		{notify.NewGitHubComment, "git@github.com", ""},
		{notify.NewGitHubDispatch, "git@github.com:acme/..", ""},
		{notify.NewGiteaStatus, "https://codeberg.org/a/b", "Gitea at https://codeberg.org"},
		{notify.NewGiteaStatus, "ssh://git@[::1]:2222/a/b", "Gitea at https://[::1]"},
		{notify.NewBitbucketStatus, "git@bitbucket.org:a/b.git", "Bitbucket at https://api.bitbucket.org"},
		{notify.NewBitbucketStatus, "https://git.acme.com/a/b.git", ""},
		{notify.NewBitbucketServerStatus, "https://git.acme.com/scm/~bob/b.git", "Bitbucket Server at https://git.acme.com"},
		{notify.NewBitbucketServerStatus, "ssh://git@git.acme.com:7999/acme/b.git", "Bitbucket Server at https://git.acme.com"},
		{notify.NewBitbucketServerStatus, "https://git.acme.com/a/b/c.git", ""},
		{notify.NewAzureDevOpsStatus, "https://dev.azure.com/org/project/_git/repo", "Azure DevOps at https://dev.azure.com"},
		{notify.NewAzureDevOpsStatus, "https://org@dev.azure.com/org/project/_git/repo", "Azure DevOps at https://dev.azure.com"},
		{notify.NewAzureDevOpsStatus, "https://" + canary + "@dev.azure.com/org/project/_git/repo", ""},
		{notify.NewAzureDevOpsStatus, "git@ssh.dev.azure.com:v3/org/project/repo", "Azure DevOps at https://dev.azure.com"},
		{notify.NewAzureDevOpsStatus, "https://org.visualstudio.com/project/_git/repo", "Azure DevOps at https://org.visualstudio.com"},
		{notify.NewAzureDevOpsStatus, "https://org.visualstudio.com/_git/repo", "Azure DevOps at https://org.visualstudio.com"},
		{notify.NewAzureDevOpsStatus, "https://tfs.acme.com/tfs/Default/project/_git/repo", "Azure DevOps at https://tfs.acme.com"},
		{notify.NewAzureDevOpsStatus, "https://dev.azure.com/org/project/repo", ""},
	} {
		o := notify.RepositoryOptions{Address: c.address, Token: canary}
		sink, err := c.make(o)
		if c.want != "" {
			require.NoError(t, err, c.address)
			require.Equal(t, c.want, sink.String(), c.address)
			continue
		}
		var wrong *notify.OptionError
		require.ErrorAs(t, err, &wrong, c.address)
		require.NotContains(t, err.Error(), canary)
		require.NotContains(t, err.Error(), "acme")
	}
}

func TestRepositoryCredentials(t *testing.T) {
	_, text := opsAppKey(t)
	const hub, bucket = "https://github.com/a/b", "https://bitbucket.org/a/b"
	for name, c := range map[string]struct {
		make opsMake
		o    notify.RepositoryOptions
		good bool
	}{
		"none":                 {notify.NewGitHubStatus, notify.RepositoryOptions{Address: hub}, false},
		"token and app":        {notify.NewGitHubStatus, notify.RepositoryOptions{Address: hub, Token: canary, App: &notify.GitHubApp{}}, false},
		"password for GitHub":  {notify.NewGitHubStatus, notify.RepositoryOptions{Address: hub, Username: "u", Password: canary}, false},
		"app for GitLab":       {notify.NewGitLabStatus, notify.RepositoryOptions{Address: hub, App: &notify.GitHubApp{}}, false},
		"app":                  {notify.NewGitHubStatus, notify.RepositoryOptions{Address: hub, App: &notify.GitHubApp{AppID: "1", PrivateKey: text}}, true},
		"app without a key":    {notify.NewGitHubStatus, notify.RepositoryOptions{Address: hub, App: &notify.GitHubApp{AppID: "1", PrivateKey: []byte(canary)}}, false},
		"app without an id":    {notify.NewGitHubStatus, notify.RepositoryOptions{Address: hub, App: &notify.GitHubApp{PrivateKey: text}}, false},
		"installation":         {notify.NewGitHubStatus, notify.RepositoryOptions{Address: hub, App: &notify.GitHubApp{AppID: "1", InstallationID: "1/..", PrivateKey: text}}, false},
		"user and password":    {notify.NewBitbucketStatus, notify.RepositoryOptions{Address: bucket, Username: "u", Password: canary}, true},
		"user alone":           {notify.NewBitbucketStatus, notify.RepositoryOptions{Address: bucket, Username: "u"}, false},
		"token with a newline": {notify.NewGitLabStatus, notify.RepositoryOptions{Address: hub, Token: canary + "\n"}, false},
		"API over plain HTTP":  {notify.NewGitLabStatus, notify.RepositoryOptions{Address: hub, API: "http://h/api/v4", Token: canary}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.make(c.o)
			if c.good {
				require.NoError(t, err)
				return
			}
			var wrong *notify.OptionError
			require.ErrorAs(t, err, &wrong)
			require.NotContains(t, err.Error(), canary)
		})
	}
}

// A GitLab below a path is told by API. On another host, the path says nothing about the
// address.
func TestGitLabBelowAPath(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Body: "[]"})
	for api, project := range map[string]string{
		server.URL: "acme%2Fshop", strings.Replace(server.URL, "127.0.0.1", "localhost", 1): "gitlab%2Facme%2Fshop",
	} {
		sink, err := notify.NewGitLabStatus(opsWith(server.URL, "/gitlab/acme/shop", func(o *notify.RepositoryOptions) { o.API = api + "/gitlab/api/v4" }))
		require.NoError(t, err)
		defer sink.CloseIdleConnections()
		before := len(server.Requests())
		require.NoError(t, sink.Send(t.Context(), opsEvent()))
		require.Equal(t, "/gitlab/api/v4/projects/"+project+"/statuses/"+opsHash, server.Requests()[before+1].Path)
	}
}

// GitHub takes 140 characters of description.
func TestStatusDescriptionIsShort(t *testing.T) {
	server := hooktest.Start(t, hooktest.Answer{Body: "{}"})
	sink, err := notify.NewGitHubStatus(opsRepository(server.URL))
	require.NoError(t, err)
	defer sink.CloseIdleConnections()
	require.NoError(t, sink.Send(t.Context(), opsEvent(func(e *events.Event) { e.Reason = strings.Repeat("x", 500) })))
	require.Contains(t, server.Requests()[1].Body, `"description":"`+strings.Repeat("x", 139)+`…"`)
}
