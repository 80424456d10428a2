package kustomize

import "context"

// Alone runs f, which may use kustomize directly, beside no build.
func Alone(ctx context.Context, f func() error) error { return schema.exclusive(ctx, f) }
