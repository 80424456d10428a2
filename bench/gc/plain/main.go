// Command plain is the other side of the benchmarks of gc. No library keeps an
// inventory of this size; this is what one writes without: a JSON document, cut
// into as many ConfigMaps as it needs, read and written as a whole.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gitopskit/gitopskit/bench/gc/entries"
	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/internal/work"
)

func main() {
	side.Main(map[string]side.Setup{
		"gc/inventory-100k": inventory(100_000),
	})
}

// inventory loads, compares and saves an inventory in which one entry changed.
func inventory(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		s, err := newStore(ctx, env)
		if err != nil {
			return side.Work{}, err
		}
		targets := entries.Make(count)
		if err := s.save(ctx, targets); err != nil {
			return side.Work{}, err
		}
		revision, place := 0, 0
		return side.Work{
			Prepare: func(context.Context) error {
				revision++
				place = revision * 7919 % count
				return nil
			},
			Do: func(ctx context.Context) error {
				stored, err := s.load(ctx)
				if err != nil {
					return err
				}
				if n := differences(stored, targets); n != 0 {
					return fmt.Errorf("%d objects came or went, though none did", n)
				}
				targets[place] = entries.Change(stored[place], revision)
				stored[place] = targets[place]
				return s.save(ctx, stored)
			},
			Finish: func(ctx context.Context) error {
				runtime.GC() // the look at what was saved should not be the peak
				stored, err := s.load(ctx)
				if err != nil {
					return err
				}
				if stored[place] != targets[place] {
					return errors.New("the change was not saved")
				}
				return work.Expect(len(stored), count)
			},
		}, nil
	}
}

// differences counts what is in one of the lists alone, by the objects' names.
func differences(a, b []entries.Entry) int {
	type key struct{ group, kind, namespace, name string }
	in := make(map[key]bool, len(a))
	for _, e := range a {
		in[key{e.Group, e.Kind, e.Namespace, e.Name}] = true
	}
	common := 0
	for _, e := range b {
		if in[key{e.Group, e.Kind, e.Namespace, e.Name}] {
			common++
		}
	}
	return len(a) + len(b) - 2*common
}

// store keeps a document in ConfigMaps inventory-0 and so on.
type store struct {
	client dynamic.ResourceInterface
}

// pieceBytes is what one ConfigMap holds: the server's limit is somewhat above.
const pieceBytes = 1 << 20 * 9 / 10

func newStore(ctx context.Context, env side.Env) (*store, error) {
	cfg, err := cluster.Config(env)
	if err != nil {
		return nil, err
	}
	namespace, err := cluster.NewNamespace(ctx, cfg)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &store{client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace)}, nil
}

func pieceName(i int) string { return fmt.Sprint("inventory-", i) }

func (s *store) load(ctx context.Context) ([]entries.Entry, error) {
	var text []byte
	for i := 0; ; i++ {
		piece, err := s.client.Get(ctx, pieceName(i), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		data, _, err := unstructured.NestedString(piece.Object, "data", "json")
		if err != nil {
			return nil, err
		}
		text = append(text, data...)
	}
	var list []entries.Entry
	return list, json.Unmarshal(text, &list)
}

func (s *store) save(ctx context.Context, list []entries.Entry) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	for i := 0; len(text) > 0; i++ {
		n := min(len(text), pieceBytes)
		piece := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1",
			"kind":       "ConfigMap",
			"metadata":   map[string]any{"name": pieceName(i)},
			"data":       map[string]any{"json": string(text[:n])},
		}}
		_, err := s.client.Update(ctx, piece, metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			_, err = s.client.Create(ctx, piece, metav1.CreateOptions{})
		}
		if err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}
