package trees

import (
	"fmt"
	"strings"
)

// Unchanged is 1,000 objects in 200 files below an overlay that does nothing to
// them, which is what costs the peer least.
func Unchanged() Tree {
	files := map[string]string{"kustomization.yaml": "resources:\n- base\n"}
	list := "resources:\n"
	for i := range 200 {
		name := fmt.Sprintf("app-%03d.yaml", i)
		files["base/"+name] = fiveObjects(i)
		list += "- " + name + "\n"
	}
	files["base/kustomization.yaml"] = list
	return Tree{Files: files, Dir: ".", Objects: 1000}
}

func fiveObjects(i int) string {
	var docs []string
	for n := range 5 {
		docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-%03d-%d\n  namespace: default\n  labels:\n    app: app-%03d\ndata:\n  key: value-%d\n  other: value\n", i, n, i, n))
	}
	return strings.Join(docs, "---\n")
}
