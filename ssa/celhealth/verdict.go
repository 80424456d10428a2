package celhealth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/ssa"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// fields of an object that expressions see by their names.
var fields = [...]string{"apiVersion", "kind", "metadata", "spec", "status", "data"}

// compiler makes programs of expressions.
type compiler struct {
	env     *cel.Env
	cost    uint64
	timeout time.Duration

	mu    sync.Mutex
	known map[[3]string]*verdict
}

func newCompiler(opts Options) (*compiler, error) {
	if opts.CostLimit == 0 {
		opts.CostLimit = DefaultCostLimit
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	// The standard functions alone: what the extensions cost is not counted, and a
	// few nested calls of replace would fill the memory.
	vars := []cel.EnvOption{cel.Variable("self", cel.DynType)}
	for _, f := range fields {
		vars = append(vars, cel.Variable(f, cel.DynType))
	}
	env, err := cel.NewEnv(vars...)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return &compiler{env: env, cost: opts.CostLimit, timeout: opts.Timeout, known: map[[3]string]*verdict{}}, nil
}

// compile makes a program that is bounded in cost and in time. An empty
// expression makes none.
func (c *compiler) compile(text string) (cel.Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > MaxExpression {
		return nil, fmt.Errorf("it has %d bytes; at most %d are allowed", len(text), MaxExpression)
	}
	ast, issues := c.env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it makes a %s and not a bool", out)
	}
	const checkEvery = 100 // rounds of a comprehension between two looks at the clock
	return c.env.Program(ast, cel.CostLimit(c.cost), cel.InterruptCheckFrequency(checkEvery))
}

// verdict is the three expressions of a rule.
type verdict struct {
	timeout                     time.Duration
	inProgress, failed, current cel.Program
}

// verdict compiles the expressions of a rule, and names the one that is wrong.
func (c *compiler) verdict(inProgress, failed, current string) (v *verdict, field string, err error) {
	v = &verdict{timeout: c.timeout}
	for _, part := range []struct {
		field, text string
		program     *cel.Program
	}{
		{"InProgress", inProgress, &v.inProgress},
		{"Failed", failed, &v.failed},
		{"Current", current, &v.current},
	} {
		if *part.program, err = c.compile(part.text); err != nil {
			return nil, part.field, err
		}
	}
	if v.current == nil {
		return nil, "Current", errors.New("it is empty, and no object would ever be Current")
	}
	return v, "", nil
}

// remembered is verdict for expressions from objects, which come again with each
// version of an object. What it remembers is bounded: it starts anew when full.
func (c *compiler) remembered(inProgress, failed, current string) (*verdict, error) {
	const most = 256
	key := [3]string{inProgress, failed, current}
	c.mu.Lock()
	v := c.known[key]
	c.mu.Unlock()
	if v != nil {
		return v, nil
	}
	v, field, err := c.verdict(inProgress, failed, current)
	if err != nil {
		return nil, fmt.Errorf("its annotation for %s: %w; correct it", field, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= most {
		clear(c.known)
	}
	c.known[key] = v
	return v, nil
}

// of judges an object.
func (v *verdict) of(ctx context.Context, obj *unstructured.Unstructured) (ssa.Status, string, error) {
	if behind(obj) {
		return ssa.InProgress, "its controller has not seen its latest generation", nil
	}
	vars := map[string]any{"self": obj.Object}
	for _, f := range fields {
		if vars[f] = obj.Object[f]; vars[f] == nil {
			vars[f] = map[string]any{} // so that what is below is not there, and no error
		}
	}
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	for _, part := range []struct {
		program cel.Program
		holds   ssa.Status
		field   string
	}{
		{v.inProgress, ssa.InProgress, "InProgress"},
		{v.failed, ssa.Broken, "Failed"},
		{v.current, ssa.Current, "Current"},
	} {
		ok, err := holds(ctx, part.program, vars)
		if err != nil {
			return "", "", fmt.Errorf("its health expression for %s: %w", part.field, err)
		}
		if ok {
			return part.holds, "its health expression for " + part.field + " holds", nil
		}
	}
	return ssa.InProgress, "its health expression for Current does not hold yet", nil
}

// holds evaluates one expression. Fields that are not there make it false.
func holds(ctx context.Context, p cel.Program, vars map[string]any) (bool, error) {
	if p == nil {
		return false, nil
	}
	out, _, err := p.ContextEval(ctx, vars)
	if err != nil {
		if absent(err) {
			return false, nil
		}
		return false, bounded(err)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it made a %s and not a bool", out.Type().TypeName())
	}
	return bool(b), nil
}

// absent recognises a field that an object does not have. CEL tells by text alone.
func absent(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "no such key: ") || strings.HasPrefix(text, "index out of bounds: ")
}

// bounded shortens what CEL says, which may quote the object.
func bounded(err error) error {
	const most = 200
	if text := err.Error(); len(text) > most {
		return errors.New(clip.Quote(text, most))
	}
	return err
}

// behind reports whether a status is of an earlier generation than the object.
func behind(obj *unstructured.Unstructured) bool {
	seen, ok, err := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	return ok && err == nil && seen != obj.GetGeneration()
}
