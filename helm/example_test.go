package helm_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"

	"github.com/gitopskit/gitopskit/helm"
)

// shop stands for a tree from Git: anything that is an fs.FS will do.
var shop = fstest.MapFS{
	"charts/shop/Chart.yaml":         {Data: []byte("apiVersion: v2\nname: shop\nversion: 1.2.3\n")},
	"charts/shop/values.yaml":        {Data: []byte("replicas: 1\n")},
	"charts/shop/values.schema.json": {Data: []byte(`{"properties": {"replicas": {"type": "integer"}}}`)},
	"charts/shop/templates/web.yaml": {Data: []byte(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
spec:
  replicas: {{ .Values.replicas }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
`)},
	"charts/shop/templates/NOTES.txt": {Data: []byte("The shop {{ .Release.Name }} is open.")},
}

func Example() {
	ctx := context.Background()
	chart, err := helm.Load(ctx, shop, "charts/shop", helm.LoadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	rendered, err := chart.Render(ctx, helm.RenderOptions{
		ReleaseName: "corner",
		Values:      map[string]any{"replicas": 3},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(chart.Name(), chart.Version())
	for _, object := range rendered.Objects {
		fmt.Println(object.GetKind(), object.GetName())
	}
	fmt.Println(rendered.Notes)
	// Output:
	// shop 1.2.3
	// ConfigMap corner-config
	// Deployment corner-web
	// The shop corner is open.
}

func ExampleValuesError() {
	ctx := context.Background()
	chart, err := helm.Load(ctx, shop, "charts/shop", helm.LoadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = chart.Render(ctx, helm.RenderOptions{Values: map[string]any{"replicas": "three"}})
	var invalid *helm.ValuesError
	if errors.As(err, &invalid) {
		fmt.Println(invalid.Violations)
	}
	// Output: [/replicas: got string, want integer]
}
