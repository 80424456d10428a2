package receive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// Filter is a compiled CEL expression over a request and, if need be, an object. It
// has CEL's standard functions, optional values with first() and last() of lists, and
// text.split(separator) into at most 1000 pieces. It sees:
//
//	req         the body, decoded
//	headers     what is in Request.Header, by names in lower case, the first value of each
//	claims      those of the token
//	event, repository, ref, revision
//	res         the object that is passed to Matches
//
// A field that is not there makes it false. It may be used from any number of
// goroutines.
type Filter struct {
	program cel.Program
	timeout time.Duration
}

// CompileFilter compiles an expression of at most 8 KiB that sees an object, for
// choosing the objects that a request concerns. Of limits the bounds of filters count.
func CompileFilter(expression string, limits Limits) (*Filter, error) {
	env, err := newCEL(limits.withDefaults())
	if err != nil {
		return nil, err
	}
	f, err := env.filter(expression, true)
	if err != nil {
		return nil, &ConfigError{Field: "Filter", Err: err}
	}
	return f, nil
}

// Matches evaluates the expression within its bounds of cost and time.
func (f *Filter) Matches(ctx context.Context, req Request, res map[string]any) (bool, error) {
	return holds(ctx, f.timeout, f.program, map[string]any{
		"req": req.Body, "headers": flat(req.Header), "claims": orEmpty(req.Claims), "res": orEmpty(res),
		"event": req.Event, "repository": req.Repository, "ref": req.Ref, "revision": req.Revision,
	})
}

func flat(h http.Header) map[string]string {
	m := make(map[string]string, len(h))
	for name, values := range h {
		if len(values) > 0 {
			m[strings.ToLower(name)] = values[0]
		}
	}
	return m
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// celEnv compiles expressions: of filters, of filters that see an object, and of
// what an issuer's tokens have to say.
type celEnv struct {
	request, object, token *cel.Env

	cost    uint64
	timeout time.Duration
}

func newCEL(l Limits) (*celEnv, error) {
	// No further extension: what they cost is not counted, and a few nested calls of
	// replace would fill the memory.
	base, err := cel.NewEnv(cel.OptionalTypes(), splitting())
	if err != nil {
		return nil, err
	}
	request, err := base.Extend(
		cel.Variable("req", cel.DynType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("event", cel.StringType), cel.Variable("repository", cel.StringType),
		cel.Variable("ref", cel.StringType), cel.Variable("revision", cel.StringType),
	)
	if err != nil {
		return nil, err
	}
	object, err := request.Extend(cel.Variable("res", cel.DynType))
	if err != nil {
		return nil, err
	}
	token, err := base.Extend(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("vars", cel.MapType(cel.StringType, cel.DynType)),
	)
	return &celEnv{request: request, object: object, token: token, cost: l.FilterCost, timeout: l.FilterTimeout}, err
}

func (e *celEnv) filter(expression string, object bool) (*Filter, error) {
	env := e.request
	if object {
		env = e.object
	}
	p, err := e.compile(env, expression, true)
	if err != nil {
		return nil, err
	}
	return &Filter{program: p, timeout: e.timeout}, nil
}

// compile makes a program that is bounded in cost and can be interrupted.
func (e *celEnv) compile(env *cel.Env, text string, wantBool bool) (cel.Program, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, errEmpty
	case len(text) > maxExpression:
		return nil, fmt.Errorf("it has %d bytes; at most %d are allowed", len(text), maxExpression)
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, shortened(err)
	}
	if out := ast.OutputType(); wantBool && !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it makes a %s and not a bool", out)
	}
	const checkEvery = 100 // rounds of a comprehension between two looks at the clock
	return env.Program(ast, cel.CostTracking(prices{}), cel.CostLimit(e.cost), cel.InterruptCheckFrequency(checkEvery))
}

// holds evaluates an expression. Fields that are not there make it false.
func holds(ctx context.Context, timeout time.Duration, p cel.Program, vars map[string]any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, _, err := p.ContextEval(ctx, vars)
	switch {
	case err != nil && absent(err):
		return false, nil
	case err != nil:
		return false, shortened(err)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it made a %s and not a bool", out.Type().TypeName())
	}
	return bool(b), nil
}

// absent recognises a field that is not there. CEL tells by text alone.
func absent(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "no such key: ") || strings.HasPrefix(text, "index out of bounds: ")
}

// shortened bounds what CEL says, which may quote what it was given.
func shortened(err error) error {
	const most = 300
	return errors.New(clip.Quote(err.Error(), most))
}
