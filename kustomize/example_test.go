package kustomize_test

import (
	"context"
	"encoding/json"
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

// What a build depended on can be kept across restarts, in a status for instance.
func ExampleInputs_Unchanged() {
	ctx, tree := context.Background(), example()
	res, err := kustomize.Build(ctx, tree, "production", kustomize.Options{})
	if err != nil {
		log.Fatal(err)
	}
	status, err := json.Marshal(res.Inputs)
	if err != nil {
		log.Fatal(err)
	}

	var last kustomize.Inputs
	if err := json.Unmarshal(status, &last); err != nil {
		log.Fatal(err)
	}
	report := func(what string) {
		same, err := last.Unchanged(ctx, tree, "production", kustomize.Options{})
		fmt.Println(what, same, err)
	}
	report("as it was:")
	tree["docs/README.md"] = &fstest.MapFile{Data: []byte("elsewhere")}
	report("a file that was not read:")
	tree["base/settings.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n")}
	report("a file of the base:")
	// Output:
	// as it was: true <nil>
	// a file that was not read: true <nil>
	// a file of the base: false <nil>
}

func ExampleCache() {
	ctx, tree := context.Background(), example()
	cache := kustomize.NewCache(kustomize.CacheOptions{Bytes: 64 << 20})
	for range 2 {
		res, err := cache.Build(ctx, tree, "production", kustomize.Options{NameSuffix: "-eu"})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Objects[0].GetName(), res.Cached)
	}
	// Output:
	// prod-settings-eu false
	// prod-settings-eu true
}
