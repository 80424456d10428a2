package helm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gitopskit/gitopskit/internal/clip"
)

var (
	// ErrNotChart says that a directory holds no Chart.yaml.
	ErrNotChart = errors.New("there is no Chart.yaml")
	// ErrLimit is what every [LimitError] is.
	ErrLimit = errors.New("limit exceeded")
	// ErrDependency is what every [DependencyError] is.
	ErrDependency = errors.New("missing chart dependency")
	// ErrLock says that Chart.lock does not belong to Chart.yaml.
	ErrLock = errors.New("the lock does not belong to Chart.yaml; run helm dependency update and commit it")
	// ErrValues is what every [ValuesError] is.
	ErrValues = errors.New("invalid chart values")
)

// ChartError says what is wrong with a chart: a file that cannot be read as what
// it should be, or a template that does not render. Only another chart or other
// values cure it.
type ChartError struct {
	Chart string // the chart's name, or its directory before the name is known
	File  string // the file, from the chart's directory on; may be empty
	Err   error
}

func (e *ChartError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("chart %s: %v", e.Chart, e.Err)
	}
	return fmt.Sprintf("chart %s: %s: %v", e.Chart, e.File, e.Err)
}

func (e *ChartError) Unwrap() error { return e.Err }

// Terminal reports that trying again does not help.
func (e *ChartError) Terminal() bool { return true }

// LimitError says which of the [Limits] a chart exceeds.
type LimitError struct {
	Chart string // the chart's name, or its directory before the name is known
	File  string // the file at which it happened; may be empty
	Limit string // the field of Limits
	Max   any    // its value
}

func (e *LimitError) Error() string {
	where := e.Chart
	if e.File != "" {
		where += ": " + e.File
	}
	return fmt.Sprintf("chart %s exceeds the limit %s of %v; make the chart smaller or raise the limit", where, e.Limit, e.Max)
}

// Is reports that the error is an [ErrLimit].
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// Terminal reports that trying again does not help.
func (e *LimitError) Terminal() bool { return true }

// DependencyError names the charts that a Chart.yaml asks for and that are not
// in its charts directory.
type DependencyError struct {
	Chart   string
	Missing []Dependency
}

func (e *DependencyError) Error() string {
	names := make([]string, len(e.Missing))
	for i, d := range e.Missing {
		names[i] = strings.TrimSpace(d.Name + " " + d.Version)
	}
	return fmt.Sprintf("chart %s depends on %s, which charts/ does not hold; run helm dependency update and commit the charts directory, or set LoadOptions.Resolver",
		e.Chart, strings.Join(names, ", "))
}

// Is reports that the error is an [ErrDependency].
func (e *DependencyError) Is(target error) bool { return target == ErrDependency }

// Terminal reports that trying again does not help.
func (e *DependencyError) Terminal() bool { return true }

// ResolveError says which dependency could not be taken from where Chart.yaml
// says that it is.
type ResolveError struct {
	Chart      string
	Dependency Dependency
	Err        error
}

func (e *ResolveError) Error() string {
	return fmt.Sprintf("chart %s depends on %s %s: %v", e.Chart, clip.Quote(e.Dependency.Name, 100), clip.Quote(e.Dependency.Version, 100), e.Err)
}

func (e *ResolveError) Unwrap() error { return e.Err }

// Is reports that the error is an [ErrDependency].
func (e *ResolveError) Is(target error) bool { return target == ErrDependency }

// Terminal reports that trying again does not help, which the error of the
// [Resolver] decides.
func (e *ResolveError) Terminal() bool {
	var final interface{ Terminal() bool }
	return errors.As(e.Err, &final) && final.Terminal()
}

// ValuesError says where values violate a chart's values.schema.json. It holds
// no values, because they may be secret.
type ValuesError struct {
	Chart      string
	Violations []string // for example: /image/tag: got number, want string
}

func (e *ValuesError) Error() string {
	return fmt.Sprintf("the values of chart %s violate its schema at %s; correct the values", e.Chart, strings.Join(e.Violations, "; "))
}

// Is reports that the error is an [ErrValues].
func (e *ValuesError) Is(target error) bool { return target == ErrValues }

// Terminal reports that trying again does not help.
func (e *ValuesError) Terminal() bool { return true }

// guard turns a panic of the code below into an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the Helm library cannot digest it: %v", r)
		}
	}()
	return f()
}
