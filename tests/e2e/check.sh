# tests/e2e/check.sh - sourced by the tests beside it: says what was compared, counts what failed, and goes on.
n_failed=0
check() { # what, got, want (a bash pattern)
    # shellcheck disable=SC2053
    if [[ $2 == $3 ]]; then
        echo "ok      $1"
    else
        echo "FAILED  $1: got \"$2\", want \"$3\""
        n_failed=$((n_failed + 1))
    fi
}
