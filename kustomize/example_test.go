package kustomize_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing/fstest"

	"github.com/gitopskit/gitopskit/kustomize"
)

// A tree can come from anywhere: a Git revision, an archive, a directory.
func example() fstest.MapFS {
	return fstest.MapFS{
		"base/settings.yaml":            {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n")},
		"base/kustomization.yaml":       {Data: []byte("resources: [settings.yaml]\n")},
		"production/kustomization.yaml": {Data: []byte("resources: [../base]\nnamePrefix: prod-\n")},
		"stolen/kustomization.yaml":     {Data: []byte("resources: [https://example.com/app.yaml]\n")},
	}
}

func ExampleBuild() {
	res, err := kustomize.Build(context.Background(), example(), "production", kustomize.Options{TargetNamespace: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range res.Objects {
		fmt.Println(o.GetKind(), o.GetNamespace()+"/"+o.GetName())
	}
	for _, name := range res.Inputs.Files() {
		fmt.Println("read", name)
	}
	// Output:
	// ConfigMap shop/prod-settings
	// read base/kustomization.yaml
	// read base/settings.yaml
	// read production/kustomization.yaml
}

// What a build never does has an error of its own.
func ExampleRefusedError() {
	_, err := kustomize.Build(context.Background(), example(), "stolen", kustomize.Options{})
	if refused, ok := errors.AsType[*kustomize.RefusedError](err); ok {
		fmt.Println(refused.File, refused.Field, refused.Value)
	}
	// Output:
	// stolen/kustomization.yaml resources[0] https://example.com/app.yaml
}
