package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// DefaultManager is the field manager of what is applied.
const DefaultManager = "gitopskit-helm"

// DefaultMaxIdentities is how many identities an Engine remembers.
const DefaultMaxIdentities = 1000

// DefaultConcurrency is how many requests a release has under way at a time.
const DefaultConcurrency = 8

// Options of New. The zero value is usable.
type Options struct {
	// Manager is the field manager of what is applied; default gitopskit-helm. Give
	// each controller one of its own.
	Manager string
	// Concurrency of the requests for one release; default 8.
	Concurrency int
	// MaxIdentities bounds what As remembers; default 1,000.
	MaxIdentities int
	// Progress is told when actions begin and end. Calls for one release do not
	// overlap; those for several do.
	Progress func(Event)
}

// Engine reconciles the releases of one cluster. It is made once, keeps
// connections and what it knows of the cluster's types, and is safe for concurrent
// use; two calls for one release at a time get in each other's way, and one of them
// ends with a [BusyError].
type Engine struct {
	client *kube.Client
	types  *typeCache
	opts   Options
	family *family

	watching *atomic.Pointer[watches]
}

// family are the engines that act as others.
type family struct {
	base *kube.Client
	mu   sync.Mutex
	by   map[string]*Engine
	age  []string
}

// New returns an Engine. It sends no request. The identity of cfg asks the server
// for its types, and, unless As is used, does everything else.
func New(cfg *rest.Config, opts Options) (*Engine, error) {
	or(&opts.Manager, DefaultManager)
	or(&opts.Concurrency, DefaultConcurrency)
	or(&opts.MaxIdentities, DefaultMaxIdentities)
	client, err := kube.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return &Engine{client: client, types: &typeCache{client: client}, opts: opts,
		family: &family{base: client, by: map[string]*Engine{}}, watching: &atomic.Pointer[watches]{}}, nil
}

// As returns an Engine that acts as another user, such as
// system:serviceaccount:shop:deployer, in all that it does to a release: the same
// as before if it is still kept. It sends no request and shares all connections.
// An empty name is an error, never the engine's own rights.
func (e *Engine) As(user string, groups ...string) (*Engine, error) {
	for _, name := range append([]string{user}, groups...) {
		if name == "" || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl) {
			return nil, &IdentityError{Name: name}
		}
	}
	key := sum(append([]string{user}, slices.Sorted(slices.Values(groups))...)...)
	f := e.family
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.by[key]; known != nil {
		return known, nil
	}
	client, err := f.base.As(rest.ImpersonationConfig{UserName: user, Groups: slices.Clone(groups)})
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	other := &Engine{client: client, types: e.types, opts: e.opts, family: f, watching: &atomic.Pointer[watches]{}}
	f.by[key], f.age = other, append(f.age, key)
	if len(f.age) > e.opts.MaxIdentities {
		delete(f.by, f.age[0])
		f.age = f.age[1:]
	}
	return other, nil
}

// Close closes idle connections.
func (e *Engine) Close() { e.client.CloseIdle() }

func (e *Engine) store(namespace, name string) *store {
	return &store{client: e.client, namespace: namespace, name: name}
}

// tell reports progress.
func (j *job) tell(action Action, done bool, format string, args ...any) {
	if j.opts.Progress != nil {
		j.opts.Progress(Event{Release: j.spec.Name, Action: action, Done: done, Message: fmt.Sprintf(format, args...), State: j.state.clone()})
	}
}

// job is one call.
type job struct {
	*Engine
	spec    Spec
	intent  string
	store   *store
	state   State
	result  *Result
	history []stored // as listed
	current *kept    // the latest version, once it was read
	doing   Action   // the action that is under way
	written bool     // the last action left something to be undone
}

func (e *Engine) job(spec Spec, state State) *job {
	return &job{Engine: e, spec: spec, state: state.clone(), result: &Result{}, store: e.store(spec.StorageNamespace, spec.Name)}
}

// latest is the latest version that is stored, or nothing.
func (j *job) latest() *stored {
	if len(j.history) == 0 {
		return nil
	}
	return &j.history[len(j.history)-1]
}

// read reads the latest version, once.
func (j *job) read(ctx context.Context) (*kept, error) {
	latest := j.latest()
	if latest == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	if j.current != nil && j.current.Version == latest.version {
		return j.current, nil
	}
	k, err := j.store.get(ctx, latest.version)
	if err == nil {
		j.current = k
	}
	return k, err
}

// refresh lists the versions anew.
func (j *job) refresh(ctx context.Context) (err error) {
	j.history, err = j.store.list(ctx)
	return err
}
