package notify

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/internal/post"
)

// azureDevOps is the API of Azure DevOps for one repository.
type azureDevOps struct {
	caller
	project, repo string
}

type azureStatus struct {
	State       string       `json:"state"`
	Description string       `json:"description"`
	TargetURL   string       `json:"targetUrl,omitempty"`
	Context     azureContext `json:"context"`
}

type azureContext struct {
	Name  string `json:"name"`
	Genre string `json:"genre"`
}

// NewAzureDevOpsStatus shows events as statuses of commits at Azure DevOps, in the genre
// fluxcd or, where the event has a summary, fluxcd:summary. The token is a personal
// access token with the scope Code (status), or one of Entra ID. The API is that of the
// organization or collection that the repository belongs to. Events about progress are
// passed over.
func NewAzureDevOpsStatus(o RepositoryOptions) (*Sink, error) {
	s, r, err := dialRepository(o, forge{name: "Azure DevOps", api: azureAPI, takes: concernsKnownCommit})
	if err != nil {
		return nil, err
	}
	_, project, repo := azureParts(r)
	a := &azureDevOps{project: project, repo: repo}
	a.caller = caller{s.conn, authorized(jsonHeader(), basicAuth("", o.Token)), a.signedIn}
	return s.statuses(o, statusForge{success: "succeeded", failure: "error", shown: a.shows, post: a.post}), nil
}

func azureAPI(r repository, given string) (base, problem string) {
	above, project, _ := azureParts(r)
	if project == "" {
		return "", "the address of the repository must be of the form https://dev.azure.com/organization/project/_git/name"
	}
	return cmp.Or(given, r.url(above...)), ""
}

// azureParts takes .../project/_git/repo apart, where a repository of the same name as
// its project may stand without it, and the form for SSH, v3/organization/project/repo.
func azureParts(r repository) (above []string, project, repo string) {
	n := len(r.path)
	if n == 4 && r.path[0] == "v3" {
		return r.path[1:2], r.path[2], r.path[3]
	}
	at := slices.Index(r.path, "_git")
	if at < 0 || at != n-2 {
		return nil, "", ""
	}
	above, repo = r.path[:at], r.path[n-1]
	needed := 1 // the organization
	if strings.HasSuffix(r.host, ".visualstudio.com") {
		needed = 0 // it is in the host's name
	}
	switch {
	case len(above) > needed:
		return above[:len(above)-1], above[len(above)-1], repo
	case len(above) == needed:
		return above, repo, repo
	}
	return nil, "", ""
}

// signedIn reads what Azure DevOps answers to a token that it does not take: its page for
// signing in, with a status that looks like success.
func (a *azureDevOps) signedIn(reply post.Reply, err error) error {
	if err == nil && reply.Status == http.StatusNonAuthoritativeInfo {
		return a.fail(true, "answered 203, with its page for signing in: the token is not valid, or has expired")
	}
	return err
}

func (a *azureDevOps) statuses(commit string) *url.URL {
	return query(a.at(a.project, "_apis", "git", "repositories", a.repo, "commits", commit, "statuses"), "api-version", "6.0")
}

func (a *azureDevOps) status(s commitStatus, e events.Event) azureStatus {
	genre := "fluxcd"
	if summary := Metadata(e, MetaSummary); summary != "" {
		genre = fit(plain(genre+":"+summary), 255, perRune)
	}
	return azureStatus{
		State: s.state, Description: s.description, TargetURL: s.target, Context: azureContext{Name: s.id, Genre: genre},
	}
}

// shows asks for the last status of each context.
func (a *azureDevOps) shows(ctx context.Context, s commitStatus, e events.Event) (bool, error) {
	var all struct {
		Value []azureStatus `json:"value"`
	}
	wanted := a.status(s, e)
	if err := get(ctx, a, query(a.statuses(s.commit), "latestOnly", "true", "top", "1000"), &all); err != nil {
		return false, err
	}
	for _, there := range all.Value {
		if there.Context == wanted.Context {
			return there.State == wanted.State && there.Description == wanted.Description, nil
		}
	}
	return false, nil
}

func (a *azureDevOps) post(ctx context.Context, s commitStatus, e events.Event) error {
	return put(ctx, a, a.statuses(s.commit), a.status(s, e))
}
