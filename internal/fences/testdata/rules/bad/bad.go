// Package bad breaks every rule once; each line says which one it breaks.
package bad

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"log"      // want "imports log"
	"log/slog" // want "imports log/slog"
	"net/http"
	"net/rpc" // want "imports net/rpc"
	"os"
	env "os"
	"os/exec" // want "imports os/exec"
	"plugin"  // want "imports plugin"
	"regexp"
	"sync"
	"syscall"
	"time"
)

var (
	counter  int                             // want "variable counter is written"
	table    = map[string]int{"a": 1}        // want "variable table is written"
	list     = []int{1}                      // want "variable list is written"
	cleared  = map[string]int{"a": 1}        // want "variable cleared is written"
	nested   struct{ m map[string]struct{} } // want "variable nested is written"
	pair     = [2]int{1, 2}                  // want "variable pair is written"
	mu       sync.Mutex                      // want "variable mu is written"
	cache    = &sync.Map{}                   // want "variable cache is a pointer"
	queue    = make(chan int)                // want "variable queue is a channel"
	client   http.RoundTripper               // want "variable client is an interface"
	Default  = 3                             // want "variable Default can be assigned"
	ErrNo    = errors.New("no")              // want "variable ErrNo is written"
	NotFound = errors.New("not found")       // want "variable NotFound is an error that is not named"
)

//go:embed bad.go
var Files embed.FS // want "variable Files can be assigned"

func Uses(ctx context.Context) {
	_ = exec.Command("true")
	_, _ = plugin.Open("x")
	_, _ = rpc.Dial("", "")
	log.Fatal("no")
	slog.Info("no")
	fmt.Println("no")                      // want "uses fmt.Println"
	fmt.Fprintln(os.Stderr)                // want "uses os.Stderr"
	println("no")                          // want "uses println"
	_ = os.Getenv("HOME")                  // want "uses os.Getenv"
	_, _ = env.LookupEnv("H")              // want "uses os.LookupEnv"
	read := os.ExpandEnv                   // want "uses os.ExpandEnv"
	_ = read("$HOME")                      //
	_ = os.TempDir()                       // want "uses os.TempDir"
	_, _ = os.MkdirTemp("", "")            // want "os.MkdirTemp in the folder"
	_ = syscall.Environ()                  // want "uses syscall.Environ"
	ctx = context.Background()             // want "uses context.Background"
	_ = context.WithoutCancel(ctx)         // want "uses context.WithoutCancel"
	time.Sleep(time.Second)                // want "uses time.Sleep"
	_, _ = http.Get("http://example.test") // want "uses net/http.Get"
	_ = http.DefaultClient                 // want "uses net/http.DefaultClient"
	io.EOF = nil                           // want "changes io.EOF for the whole process"
	_ = regexp.MustCompile(read("x"))      // want "calls regexp.MustCompile"
	//nolint
	// want-1 "silences a linter"
	//nolint:errcheck
	// want-1 "silences a linter"
	panic("no") // want "uses panic"
}

func Writes() {
	counter++
	table["b"] = 2
	list[0]++
	delete(cleared, "a")
	nested.m["x"] = struct{}{}
	_ = &pair[0]
	mu.Lock()
	ErrNo = nil
	os.Exit(1) // want "uses os.Exit"
}
