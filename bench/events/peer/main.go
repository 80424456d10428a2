// Command peer is the peer's side of the benchmarks of events. Its Kubernetes events go
// nowhere on either side.
package main

import (
	"context"
	"runtime"
	"time"

	fluxevents "github.com/fluxcd/pkg/runtime/events"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	"github.com/gitopskit/gitopskit/bench/events/hook"
	"github.com/gitopskit/gitopskit/bench/internal/side"
)

func main() {
	runtime.GOMAXPROCS(2)
	side.Main(map[string]side.Setup{
		"events/emit":       emit(500),
		"events/emit-503":   refused,
		"events/throughput": throughput(5000),
	})
}

// recorder is a recorder that posts to a hook. Events have numbers of their own, over
// all rounds.
type recorder struct {
	*fluxevents.Recorder
	hook *hook.Hook
	next int
	said []string // of this round
}

func newRecorder() (*recorder, error) {
	h, err := hook.Start()
	if err != nil {
		return nil, err
	}
	log := funcr.New(func(string, string) {}, funcr.Options{}) // it looks into the logger's sink
	rec, err := fluxevents.NewRecorderForScheme(kuberuntime.NewScheme(), &record.FakeRecorder{}, log, h.URL, "bench")
	return &recorder{Recorder: rec, hook: h}, err
}

// prepare makes the messages of a round.
func (r *recorder) prepare(count int) {
	r.said = hook.Messages(r.next, count)
	r.next += count
}

func (r *recorder) emit(event int) {
	r.AnnotatedEventf(&metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "example.test/v1", Kind: "App"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: hook.Object(event)},
	}, map[string]string{"example.test/revision": "main@sha1:1f0c"}, corev1.EventTypeNormal, "Succeeded", "%s", r.said[event])
}

// emit is what the caller waits for, one event after the other.
func emit(count int) side.Setup {
	return func(context.Context, side.Env) (side.Work, error) {
		r, err := newRecorder()
		if err != nil {
			return side.Work{}, err
		}
		return side.Work{
			Prepare: func(context.Context) error {
				r.prepare(count)
				return nil
			},
			Do: func(context.Context) error {
				for i := range count {
					r.emit(i)
				}
				return nil
			},
			Finish: func(context.Context) error {
				return r.hook.Expect(count)
			},
		}, nil
	}
}

// refused is what the slowest caller waits for while the hook answers 503. Nothing
// arrives later.
func refused(context.Context, side.Env) (side.Work, error) {
	r, err := newRecorder()
	if err != nil {
		return side.Work{}, err
	}
	var slowest time.Duration
	return side.Work{
		Prepare: func(context.Context) error {
			r.hook.Down(true)
			r.prepare(hook.Callers)
			return nil
		},
		Do: func(ctx context.Context) error {
			slowest = hook.Slowest(r.emit)
			return r.hook.Outage(ctx, hook.Callers)
		},
		Took: func() time.Duration { return slowest },
		Finish: func(context.Context) error {
			r.hook.Down(false)
			return r.hook.Expect(0)
		},
	}, nil
}

// throughput is how long it takes until events of several callers have arrived.
func throughput(count int) side.Setup {
	return func(context.Context, side.Env) (side.Work, error) {
		r, err := newRecorder()
		if err != nil {
			return side.Work{}, err
		}
		return side.Work{
			Prepare: func(context.Context) error {
				r.prepare(count)
				return nil
			},
			Do: func(context.Context) error {
				hook.Shared(count, r.emit)
				return nil
			},
			Finish: func(context.Context) error { return r.hook.Expect(count) },
		}, nil
	}
}
