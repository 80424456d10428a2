package receive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/cel-go/cel"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// googleIssuer signs the tokens of Pub/Sub pushes.
const googleIssuer = "https://accounts.google.com"

var identifier = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]{0,63}$`)

// issuerCheck is an issuer that is ready to check tokens.
type issuerCheck struct {
	url, audience string
	email         string // demanded of Google's tokens
	keys          *keySet
	timeout       time.Duration // of one expression
	variables     []namedProgram
	validations   []namedProgram
}

// namedProgram is a variable with its name or a validation with its message.
type namedProgram struct {
	name    string
	program cel.Program
}

// compileIssuers checks the issuers of a receiver. What it returns has to be released,
// also beside an error.
func (h *Handler) compileIssuers(r Receiver) ([]*issuerCheck, error) {
	switch {
	case r.Type == GCR:
		return []*issuerCheck{{url: googleIssuer, audience: r.Audience, email: r.Email, keys: h.keys.acquire(googleIssuer, false)}}, nil
	case r.Type != GenericOIDC && len(r.Issuers) > 0:
		return nil, errors.New("they are for generic-oidc")
	case r.Type != GenericOIDC:
		return nil, nil
	case len(r.Issuers) == 0 || len(r.Issuers) > maxIssuers:
		return nil, fmt.Errorf("there are %d; 1 to %d are allowed", len(r.Issuers), maxIssuers)
	}
	var checks []*issuerCheck
	var faults []error
	for i, issuer := range r.Issuers {
		check, err := h.compileIssuer(issuer)
		if err != nil {
			faults = append(faults, fmt.Errorf("issuer %d: %w", i+1, err))
			continue
		}
		checks = append(checks, check)
	}
	return checks, errors.Join(faults...)
}

func (h *Handler) compileIssuer(i Issuer) (*issuerCheck, error) {
	u, err := url.Parse(i.URL)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("its URL has to be https://, a host and a path, and nothing else")
	case u.Scheme == "http" && !i.AllowHTTP:
		return nil, errors.New("its keys would come over plain HTTP; use https, or set AllowHTTP")
	case i.Audience == "":
		return nil, errors.New("its audience is missing: tokens that are meant for others would do")
	case len(i.Validations) == 0:
		return nil, errors.New("it has no validations: whoever it knows would be let in")
	case len(i.Validations) > maxRules || len(i.Variables) > maxRules:
		return nil, fmt.Errorf("it has more than %d variables or validations", maxRules)
	}
	check := &issuerCheck{url: i.URL, audience: i.Audience, timeout: h.cel.timeout}
	for _, v := range i.Variables {
		if !identifier.MatchString(v.Name) {
			return nil, fmt.Errorf("variable %q: this is no name", clip.Quote(v.Name, 64))
		}
		p, err := h.cel.compile(h.cel.token, v.Expression, false)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		check.variables = append(check.variables, namedProgram{v.Name, p})
	}
	for n, v := range i.Validations {
		p, err := h.cel.compile(h.cel.token, v.Expression, true)
		if err != nil {
			return nil, fmt.Errorf("validation %d: %w", n+1, err)
		}
		check.validations = append(check.validations, namedProgram{clip.Quote(v.Message, maxFact), p})
	}
	check.keys = h.keys.acquire(i.URL, i.AllowHTTP)
	return check, nil
}

// oidc checks the token of a request.
func oidc(ctx context.Context, h *Handler, c *compiled, header http.Header, _ []byte) (map[string]any, error) {
	raw, err := bearer(header)
	if err != nil {
		return nil, err
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{ // asymmetric ones alone: a public key is no secret
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	})
	if err != nil {
		return nil, unauthenticated("the token is malformed, or its algorithm is not allowed")
	}
	var claimed jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&claimed); err != nil {
		return nil, unauthenticated("the claims of the token are malformed")
	}
	// Whose keys to ask is all that is believed before the signature is checked.
	err = unauthenticated("the token is of an issuer that is not allowed")
	for _, issuer := range c.issuers {
		if issuer.url != claimed.Issuer {
			continue
		}
		var claims map[string]any
		if claims, err = issuer.check(ctx, h, token); err == nil {
			return claims, nil
		}
	}
	return nil, err
}

// bearer returns the token of a request.
func bearer(header http.Header) (string, error) {
	value, err := only(header, "Authorization")
	if err != nil {
		return "", err
	}
	scheme, token, _ := strings.Cut(value, " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return "", unauthenticated("Authorization holds no bearer token")
	case len(token) > maxToken:
		return "", unauthenticated("the token has %d bytes; at most %d are allowed", len(token), maxToken)
	}
	return token, nil
}

// check verifies the signature first, then what is claimed.
func (i *issuerCheck) check(ctx context.Context, h *Handler, token *jwt.JSONWebToken) (map[string]any, error) {
	if len(token.Headers) != 1 {
		return nil, unauthenticated("the token has not one signature")
	}
	head := token.Headers[0]
	keys, err := i.keys.find(ctx, head.KeyID)
	if err != nil {
		return nil, err
	}
	var std jwt.Claims
	var claims map[string]any
	verified := slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool {
		return (k.Algorithm == "" || k.Algorithm == head.Algorithm) && token.Claims(k.Key, &std, &claims) == nil
	})
	if !verified {
		return nil, unauthenticated("the token is signed by no key of its issuer")
	}
	if std.Expiry == nil {
		return nil, unauthenticated("the token does not expire")
	}
	expected := jwt.Expected{Issuer: i.url, AnyAudience: jwt.Audience{i.audience}, Time: h.now()}
	if err := std.ValidateWithLeeway(expected, clockSkew); err != nil {
		return nil, unauthenticated("%v", err)
	}
	if i.email != "" && (claims["email"] != i.email || claims["email_verified"] != true) {
		return nil, unauthenticated("the token is of another service account")
	}
	return claims, i.validate(ctx, claims)
}

// validate evaluates what the receiver demands of the claims. All that does not hold
// is told together.
func (i *issuerCheck) validate(ctx context.Context, claims map[string]any) error {
	if len(i.validations) == 0 {
		return nil
	}
	computed := map[string]any{}
	vars := map[string]any{"claims": claims, "vars": computed}
	for _, v := range i.variables {
		value, err := i.eval(ctx, v.program, vars)
		if err != nil {
			return unauthenticated("variable %s: %v", v.name, err)
		}
		computed[v.name] = value
	}
	var faults []error
	for _, v := range i.validations {
		ok, err := holds(ctx, i.timeout, v.program, vars)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", v.name, err))
		} else if !ok {
			faults = append(faults, errors.New(v.name))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrUnauthenticated, errors.Join(faults...))
	}
	return nil
}

// eval computes a variable.
func (i *issuerCheck) eval(ctx context.Context, p cel.Program, vars map[string]any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	value, _, err := p.ContextEval(ctx, vars)
	if err != nil {
		return nil, shortened(err)
	}
	return value, nil
}
