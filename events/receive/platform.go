package receive

import (
	"context"
	"net/http"
	"strings"
)

// platform is what sets the webhooks of one type apart.
type platform struct {
	// auth checks who sent a request, and returns the claims of a token.
	auth func(ctx context.Context, h *Handler, c *compiled, header http.Header, body []byte) (map[string]any, error)
	// parse reads what a request says. It runs after auth.
	parse  func(d delivery) (facts, error)
	signed bool // auth hashes the body
	events bool // parse finds the name of an event
	loose  bool // the body need not be JSON
}

// delivery is a request that is authentic.
type delivery struct {
	header http.Header
	raw    []byte
	body   object
}

// facts are what a platform tells in its own way.
type facts struct {
	event, id, repository, ref, revision string

	body any
	ping bool
	// replay names the delivery, where it has a name that its sender vouches for.
	replay string
}

func platformOf(t Type) (platform, bool) {
	switch t {
	case GitHub, Gitea:
		return platform{auth: signedLikeGitHub, parse: parseGitHub, signed: true, events: true}, true
	case GitLab:
		return platform{auth: tokenIn("X-Gitlab-Token"), parse: parseGitLab, events: true}, true
	case Bitbucket:
		return platform{auth: signedLikeBitbucket, parse: parseBitbucket, signed: true, events: true}, true
	case Harbor:
		return platform{auth: tokenIn("Authorization"), parse: parseHarbor, events: true}, true
	case DockerHub:
		return platform{auth: knowsPath, parse: parseDockerHub, events: true}, true
	case Quay:
		return platform{auth: knowsPath, parse: parseQuay, events: true}, true
	case GCR:
		return platform{auth: oidc, parse: parseGCR, events: true}, true
	case ACR:
		return platform{auth: knowsPath, parse: parseACR, events: true}, true
	case Nexus:
		return platform{auth: signedLikeNexus, parse: parseNexus, signed: true, events: true}, true
	case CDEvents:
		return platform{auth: knowsPath, parse: parseCDEvents, events: true}, true
	case Generic:
		return platform{auth: knowsPath, parse: parseGeneric, loose: true}, true
	case GenericHMAC:
		return platform{auth: signedGeneric, parse: parseGeneric, signed: true, loose: true}, true
	case GenericOIDC:
		return platform{auth: oidc, parse: parseGeneric, loose: true}, true
	}
	return platform{}, false
}

// parse decodes a body and reads what it says.
func (h *Handler) parse(c *compiled, header http.Header, body []byte) (facts, error) {
	d := delivery{header: header, raw: body}
	body, err := formPayload(header, body)
	if err != nil {
		return facts{}, err
	}
	decoded, err := decode(body, h.limits)
	switch {
	case err != nil && (!c.platform.loose || c.filter != nil):
		return facts{}, err
	case err != nil:
		decoded = nil
	}
	var isObject bool
	if d.body, isObject = decoded.(map[string]any); !isObject && !c.platform.loose {
		return facts{}, malformed("the body is not a JSON object")
	}
	f, err := c.platform.parse(d)
	if err != nil {
		return facts{}, err
	}
	f.body = decoded
	for _, s := range []*string{&f.event, &f.id, &f.repository, &f.ref, &f.revision} {
		if *s = strings.ToValidUTF8(*s, "\uFFFD"); len(*s) > maxFact {
			*s = ""
		}
	}
	if c.platform.events && f.event == "" {
		return facts{}, malformed("it names no event")
	}
	if len(f.replay) > maxFact {
		return facts{}, malformed("its delivery has an id of %d bytes; at most %d are allowed", len(f.replay), maxFact)
	}
	return f, nil
}

// parseGeneric knows nothing of what was sent.
func parseGeneric(delivery) (facts, error) { return facts{}, nil }
