package notify

import (
	"net/url"
	"time"
)

// OpsRepository is what the address of a repository is read as.
func OpsRepository(address string) (base, host string, path []string, ok bool) {
	r, problem := parseRepository(address)
	return r.url(r.path...), r.host, r.path, problem == ""
}

// OpsAPIs are the base URLs that follow from an address, by platform.
func OpsAPIs(address string) map[string]string {
	r, problem := parseRepository(address)
	out := map[string]string{}
	for name, api := range map[string]func(repository, string) (string, string){
		"GitHub": gitHubAPI, "GitLab": gitLabAPI, "Gitea": giteaAPI, "Bitbucket": bitbucketAPI,
		"Bitbucket Server": bitbucketServerAPI, "Azure DevOps": azureAPI,
	} {
		if base, wrong := api(r, ""); problem == "" && wrong == "" {
			out[name] = base
		}
	}
	return out
}

func OpsCommitHash(revision string) string { return commitHash(revision) }

func OpsDSN(dsn string) (target, key string, ok bool) { return parseDSN(dsn) }

func OpsConnectionString(s string) (endpoint, signature string, ok bool) {
	policy, endpoint, hub, ok := parseConnectionString(s)
	return endpoint, policy.sign(&url.URL{Scheme: "https", Host: "h", Path: "/" + hub}, time.Unix(4e9, 0)), ok
}

func OpsWords(reason string) string { return words(reason) }
