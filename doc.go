// Package gitopskit is a set of GitOps building blocks for Go: eight packages,
// each useful alone, that together carry a change from a Git commit to a healthy
// cluster.
package gitopskit
