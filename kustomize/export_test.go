package kustomize

import "context"

// Alone runs f, which may use kustomize directly, beside no build.
func Alone(ctx context.Context, f func() error) error { return schema.exclusive(ctx, f) }

// Version is what inputs are compared by, beside their content.
const Version = version

// DigestOf sums up options.
func DigestOf(opts Options) string { s := opts.digest(); return string(s[:]) }
