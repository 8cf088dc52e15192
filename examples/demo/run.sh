# The boot script of the demo's image: what to do with the branch that Stager names in $container_name.
# It does what `git fetch; git checkout $container_name; git pull origin $container_name` do, and also gets
# over a branch that was rebased and pushed by force.
# shellcheck shell=bash disable=SC2154
set -euo pipefail
cd /stager-demo

if ! git fetch --quiet --prune origin; then
  echo "run.sh: $(git remote get-url origin) can't be reached from this container." >&2
  exit 1
fi
if ! git rev-parse --verify --quiet "refs/remotes/origin/$container_name" >/dev/null; then
  echo "run.sh: the repository has no branch \"$container_name\". It has:" >&2
  git for-each-ref --format='  %(refname:lstrip=3)' refs/remotes/origin | grep -vx '  HEAD' >&2
  exit 1
fi
git checkout --quiet --force -B "$container_name" "refs/remotes/origin/$container_name"
git --no-pager log -1 --format='run.sh: serving %h, %s'

exec python3 -m http.server 3000 --directory site
