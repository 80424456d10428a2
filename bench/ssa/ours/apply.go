package main

import (
	"context"
	"runtime"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/bench/internal/cluster"
	"github.com/gitopskit/gitopskit/bench/internal/side"
	"github.com/gitopskit/gitopskit/bench/ssa/objects"
	"github.com/gitopskit/gitopskit/ssa"
)

// revise is a reconcile of ConfigMaps that are in the cluster already, in one
// namespace, so many of which have a new revision. The others are found to be as
// they should.
func revise(count, changed int) side.Setup { return reviseWith(newReconciler, count, changed) }

func reviseWith(open func(context.Context, side.Env) (*reconciler, error), count, changed int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		r, err := open(ctx, env)
		if err != nil {
			return side.Work{}, err
		}
		if _, err := r.apply(ctx, objects.ConfigMaps(r.namespace, count)); err != nil {
			return side.Work{}, err
		}
		var list []*unstructured.Unstructured
		revision := 0
		return side.Work{
			Prepare: func(context.Context) error {
				revision++
				list = nil // so that two lists are never in memory
				runtime.GC()
				list = objects.ConfigMaps(r.namespace, count)
				return objects.Revise(list, changed, revision)
			},
			Do: func(ctx context.Context) error {
				res, err := r.apply(ctx, list)
				if err != nil {
					return err
				}
				return did(res, ssa.Configured, changed, count)
			},
		}, nil
	}
}

// create applies ConfigMaps that are not there, each time in a new namespace.
func create(count int) side.Setup {
	return func(ctx context.Context, env side.Env) (side.Work, error) {
		r, err := newReconciler(ctx, env)
		if err != nil {
			return side.Work{}, err
		}
		var list []*unstructured.Unstructured
		return side.Work{
			Prepare: func(ctx context.Context) error {
				namespace, err := cluster.NewNamespace(ctx, r.cfg)
				r.inventory, list = nil, objects.ConfigMaps(namespace, count)
				return err
			},
			Do: func(ctx context.Context) error {
				res, err := r.apply(ctx, list)
				if err != nil {
					return err
				}
				return did(res, ssa.Created, count, count)
			},
		}, nil
	}
}
