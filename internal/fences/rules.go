package fences

import (
	"go/ast"
	"go/types"
	"regexp"
	"strings"
)

const (
	startsProcesses = "a library starts no process; do the work in Go"
	readsEnv        = "a library does not read the environment; take it as an option"
	logs            = "a library does not log; return results and typed errors"
	detaches        = "a library does not detach from its caller; pass the caller's context on"
	dies            = "a library does not end its caller's process; return an error"
	sleeps          = "a library does not sleep; wait for a timer and the context together"
)

// bannedImports are packages, with everything below them, that library code
// does not import.
var bannedImports = map[string]string{
	"os/exec":                    startsProcesses,
	"plugin":                     "a library loads no code at run time",
	"net/rpc":                    "gob-encoded calls are neither bounded nor versioned; use HTTP",
	"log":                        logs,
	"k8s.io/klog":                logs,
	"github.com/go-logr":         logs,
	"go.uber.org/zap":            logs,
	"github.com/sirupsen/logrus": logs,
	"github.com/rs/zerolog":      logs,
}

// importRule says why a package must not be imported, or nothing.
func importRule(name string) string {
	for banned, why := range bannedImports {
		if in(name, banned) {
			return why
		}
	}
	return ""
}

// bannedUses are functions and variables that library code does not mention,
// be it in a call or as a value. Built-in functions have no package.
var bannedUses = map[string]string{
	"panic":   dies,
	"print":   logs,
	"println": logs,

	"fmt.Print":   logs,
	"fmt.Printf":  logs,
	"fmt.Println": logs,
	"os.Stdout":   logs,
	"os.Stderr":   logs,
	"os.Stdin":    "a library asks nobody; take an io.Reader",
	"os.Args":     "a library has no command line; take an option",
	"os.Exit":     dies,

	"runtime.Goexit":   dies,
	"syscall.Exit":     dies,
	"os.StartProcess":  startsProcesses,
	"syscall.Exec":     startsProcesses,
	"syscall.ForkExec": startsProcesses,

	"os.Getenv":        readsEnv,
	"os.LookupEnv":     readsEnv,
	"os.Environ":       readsEnv,
	"os.Setenv":        readsEnv,
	"os.Unsetenv":      readsEnv,
	"os.Clearenv":      readsEnv,
	"os.ExpandEnv":     readsEnv,
	"os.TempDir":       readsEnv,
	"os.UserHomeDir":   readsEnv,
	"os.UserCacheDir":  readsEnv,
	"os.UserConfigDir": readsEnv,
	"syscall.Getenv":   readsEnv,
	"syscall.Environ":  readsEnv,

	"net/http.ProxyFromEnvironment": readsEnv,
	"net/http.DefaultTransport":     "it takes its proxy from the environment and is shared by the whole process; make a transport",
	"net/http.DefaultClient":        "it takes its proxy from the environment and has no time limit; make a client",
	"net/http.Get":                  "it has no context and uses the shared client; make a request with the caller's context",
	"net/http.Head":                 "it has no context and uses the shared client; make a request with the caller's context",
	"net/http.Post":                 "it has no context and uses the shared client; make a request with the caller's context",
	"net/http.PostForm":             "it has no context and uses the shared client; make a request with the caller's context",
	"net/http.NewRequest":           detaches,

	"context.Background":    detaches,
	"context.TODO":          detaches,
	"context.WithoutCancel": detaches,

	"time.Sleep": sleeps,

	"k8s.io/client-go/rest.InClusterConfig": readsEnv,
}

// use applies bannedUses to a name in the code.
func (s *source) use(id *ast.Ident) []finding {
	obj := s.info.Uses[id]
	if obj == nil {
		return nil
	}
	name := obj.Name()
	switch pkg := obj.Pkg(); {
	case pkg == nil:
		if _, builtin := obj.(*types.Builtin); !builtin {
			return nil
		}
	case obj.Parent() != pkg.Scope(): // a method, a field or a local
		return nil
	default:
		name = pkg.Path() + "." + name
	}
	why := bannedUses[name]
	if why == "" {
		return nil
	}
	return []finding{s.found(id, "uses "+name+": "+why, name)}
}

// call applies the rules that depend on a call's arguments.
func (s *source) call(call *ast.CallExpr) []finding {
	name := s.callee(call)
	short := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case name == "os.MkdirTemp" || name == "os.CreateTemp":
		if len(call.Args) > 0 && s.isEmptyString(call.Args[0]) {
			return []finding{s.found(call, name+" in the folder that $TMPDIR names: "+readsEnv, name)}
		}
	case strings.HasPrefix(short, "Must") && !s.allConstant(call.Args):
		return []finding{s.found(call, "calls "+name+", which panics, with what is known only at run time: "+dies, name)}
	}
	return nil
}

// callee returns the package path and name of the function that is called.
func (s *source) callee(call *ast.CallExpr) string {
	var id *ast.Ident
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = fun
	case *ast.SelectorExpr:
		id = fun.Sel
	default:
		return ""
	}
	fn, ok := s.info.Uses[id].(*types.Func)
	if !ok || fn.Pkg() == nil {
		return ""
	}
	return fn.Pkg().Path() + "." + fn.Name()
}

func (s *source) isEmptyString(e ast.Expr) bool {
	v := s.info.Types[e].Value
	return v != nil && v.ExactString() == `""`
}

func (s *source) allConstant(args []ast.Expr) bool {
	for _, arg := range args {
		if s.info.Types[arg].Value == nil {
			return false
		}
	}
	return true
}

// silencer finds the marker, its list of linters, and the reason.
var silencer = regexp.MustCompile(`^//\s*nolint(:[a-zA-Z0-9,_-]+)?(\s*//\s*\S.*)?`)

// bareNolint reports whether a comment silences a linter without naming it and
// giving a reason.
func bareNolint(comment string) bool {
	m := silencer.FindStringSubmatch(comment)
	return m != nil && (m[1] == "" || m[2] == "")
}
