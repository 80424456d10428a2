package kube

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const acceptDiscovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
	"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"

// Kind is a type that the server serves.
type Kind struct {
	schema.GroupVersionKind
	Resource   string // plural, as in URLs
	Namespaced bool
}

// Kinds reads every type that the server serves, in two requests. Groups whose
// own server does not answer are left out.
func (c *Client) Kinds(ctx context.Context) ([]Kind, error) {
	var kinds []Kind
	for _, path := range []string{"/api", "/apis"} {
		raw, err := c.rest.Get().AbsPath(path).SetHeader("Accept", acceptDiscovery).Do(ctx).Raw()
		if err != nil {
			return nil, err
		}
		var list discovered
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, fmt.Errorf("decode the server's answer: %w", err)
		}
		kinds = append(kinds, list.kinds()...)
	}
	return kinds, nil
}

// discovered is what of an APIGroupDiscoveryList matters here.
type discovered struct {
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Versions []struct {
			Version   string `json:"version"`
			Resources []struct {
				Resource     string `json:"resource"`
				Scope        string `json:"scope"`
				ResponseKind struct {
					Kind string `json:"kind"`
				} `json:"responseKind"`
			} `json:"resources"`
		} `json:"versions"`
	} `json:"items"`
}

func (d discovered) kinds() []Kind {
	var kinds []Kind
	for _, group := range d.Items {
		for _, v := range group.Versions {
			for _, r := range v.Resources {
				gvk := schema.GroupVersionKind{Group: group.Metadata.Name, Version: v.Version, Kind: r.ResponseKind.Kind}
				kinds = append(kinds, Kind{GroupVersionKind: gvk, Resource: r.Resource, Namespaced: r.Scope == "Namespaced"})
			}
		}
	}
	return kinds
}

// Version reads the server's version, such as v1.37.0.
func (c *Client) Version(ctx context.Context) (string, error) {
	raw, err := c.rest.Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return "", err
	}
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	err = json.Unmarshal(raw, &v)
	return v.GitVersion, err
}
