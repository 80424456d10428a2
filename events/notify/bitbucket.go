package notify

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // a short name for an id, as others compute it
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/gitopskit/gitopskit/events"
)

type bitbucketStatus struct {
	Key         string `json:"key"`
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description"`
	URL         string `json:"url"`
}

// bitbucketKey makes a key of an id: it has at most 40 characters.
func bitbucketKey(id string) string {
	sum := sha1.Sum([]byte(id)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// bitbucket is the API of Bitbucket Cloud for one repository.
type bitbucket struct {
	caller
	workspace, repo string
}

// NewBitbucketStatus shows events as build statuses of commits at Bitbucket Cloud. The
// credential is an access token, or a user with an app password or API token: as
// Username and Password, or as a Token of the form user:password. It may write to the
// repository. Events about progress are passed over.
func NewBitbucketStatus(o RepositoryOptions) (*Sink, error) {
	if user, password, both := strings.Cut(o.Token, ":"); both && o.Username+o.Password == "" {
		o.Token, o.Username, o.Password = "", user, password
	}
	s, r, err := dialRepository(o, forge{name: "Bitbucket", api: bitbucketAPI, takes: concernsKnownCommit, login: true})
	if err != nil {
		return nil, err
	}
	header := authorized(jsonHeader(), authorization(o.Token, o.Username, o.Password))
	b := &bitbucket{caller{s.conn, header, nil}, r.path[0], r.path[1]}
	o.TargetURL = cmp.Or(o.TargetURL, "https://bitbucket.org")
	return s.statuses(o, statusForge{success: "SUCCESSFUL", failure: "FAILED", shown: b.shows, post: b.post}), nil
}

func bitbucketAPI(r repository, given string) (base, problem string) {
	switch {
	case len(r.path) != 2:
		return "", "the address of the repository must end in workspace/name"
	case given != "":
		return given, ""
	case r.host != "bitbucket.org":
		return "", "the repository is not at bitbucket.org: a server of one's own is another provider"
	}
	return "https://api.bitbucket.org/2.0", ""
}

func (b *bitbucket) below(commit string, elements ...string) *url.URL {
	return b.at(append([]string{"repositories", b.workspace, b.repo, "commit", commit, "statuses", "build"}, elements...)...)
}

func (b *bitbucket) shows(ctx context.Context, s commitStatus, _ events.Event) (bool, error) {
	var there bitbucketStatus
	err := get(ctx, b, b.below(s.commit, bitbucketKey(s.id)), &there)
	if missing(err) {
		return false, nil
	}
	return there.State == s.state && there.Description == s.description, err
}

func (b *bitbucket) post(ctx context.Context, s commitStatus, e events.Event) error {
	return put(ctx, b, b.below(s.commit), bitbucketStatus{
		Key: bitbucketKey(s.id), State: s.state, Name: fit(shortName(e), 255, perRune), Description: s.description, URL: s.target,
	})
}
