#!/bin/bash
# The layers of src/ as a law; docs/design.md ("Source") tells what each layer
# is for.  Prints each violation and fails if there is one:
#
# - a file includes headers of its own layer and of those below it only, and
#   the modules (a .c with its .h) include each other without a circle;
# - a header *_private.h is included by .c files of its own folder only;
# - words that belong to a layer (SPI, locks, SQL text ...) stand only there;
# - no file is longer than MAX_LINES;
# - what has external linkage is used by another file;
# - a file of model/ includes only headers of files further down in the list in
#   the head of model/lease_model.c.
#
# An argument names another source tree to check.

set -uo pipefail
cd "${1:-$(dirname "$0")/..}" || exit 1

LAYERS='base shmem xact table sale worker scenario api'
MAX_LINES=600

# word (an extended regular expression) : where it may stand, as prefixes of
# the path
words() {
    cat << 'WORDS'
\<SPI_ : src/table/
\<(LWLock(Acquire|Release|ConditionalAcquire|Initialize)|GetNamedLWLockTranche)\> : src/shmem/ src/base/shmem.c
\<(SpinLock(Init|Acquire|Release)|slock_t)\> : src/shmem/ src/base/fault.c
\<pg_atomic_ : src/shmem/ src/base/futex.h
\<(LockAcquire|LockRelease|XactLockTableWait|SET_LOCKTAG_[A-Z]+)\> : src/xact/
\<((Unl|L)ockRelationOid|table_open|index_open)\> : src/table/relation.c src/worker/launcher.c
\<index_beginscan\> : src/base/compat.h
\<PG_FUNCTION_INFO_V1\> : src/api/ src/base/fault.c
\<(PG_TRY|pqsignal|StartTransactionCommand|CommitTransactionCommand|AbortCurrentTransaction)\> : src/worker/
\<Register(Sub)?XactCallback\> : src/callbacks.c
WORDS
}

failed=0

violation() {
    printf '%s\n' "$*" >&2
    failed=1
}

# All sources, and the code of one without its comments; strings stay.
sources() {
    find seckill.c src -name '*.[ch]' | sort
}

code() {
    awk '
    {
        line = $0
        out = ""
        while (line != "") {
            if (inside) {
                end = index(line, "*/")
                if (end == 0) { line = ""; break }
                line = substr(line, end + 2)
                inside = 0
            } else {
                start = index(line, "/*")
                if (start == 0) { out = out line; line = ""; break }
                out = out substr(line, 1, start - 1)
                line = substr(line, start + 2)
                inside = 1
            }
        }
        print out
    }' "$1"
}

# The layer of a path as a number; 1 is also what all layers share, and 99 what
# stands above them.
rank() {
    local i=1 layer

    case $1 in
        src/seckill.h) echo 1 && return ;;
    esac
    for layer in $LAYERS; do
        [[ $1 != src/$layer/* ]] || { echo $i && return; }
        i=$((i + 1))
    done
    echo 99
}

# worker stands beside scenario and api: they do not include it.
may_include() {
    local from=$1 to=$2

    [[ ($from != src/api/* && $from != src/scenario/*) || $to != src/worker/* ]] &&
        [ "$(rank "$to")" -le "$(rank "$from")" ]
}

# "file header" for each include of a header of ours
includes() {
    local file

    while read -r file; do
        sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file" |
            while read -r header; do
                [ ! -f "src/$header" ] || echo "$file src/$header"
            done
    done < <(sources)
}

check_includes() {
    local from to loop

    while read -r from to; do
        may_include "$from" "$to" ||
            violation "$from: includes $to, of a layer that it may not use"
        [[ $to != *_private.h || $from == "${to%/*}"/*.c ]] ||
            violation "$from: includes $to, which is private"
    done < <(includes)
    loop=$(includes | sed 's/\.[ch]\>//g' | awk '$1 != $2' | sort -u |
        tsort 2>&1 > /dev/null | sed -n 's/^tsort: //p' | grep -v '^-:' | xargs)
    [ -z "$loop" ] || violation "modules include each other in a circle: $loop"
}

check_words() {
    local file word places place found

    while read -r file; do
        found=$(code "$file")
        while IFS=$'\t' read -r word places; do
            for place in $places; do
                [[ $file != "$place"* ]] || continue 2
            done
            ! grep -qE "$word" <<< "$found" ||
                violation "$file: uses $word, which belongs to $places"
        done < <(words | sed 's/ : /\t/')
    done < <(sources)
}

# SQL text that names our tables; messages to people may name them anywhere.
check_statements() {
    local file

    while read -r file; do
        [[ $file != src/table/* ]] || continue
        ! code "$file" | grep -v -E 'err(msg|detail|hint)' |
            grep -qE '"[^"]*\<(FROM|INTO|UPDATE|JOIN)\> +(ONLY +)?seckill\.' ||
            violation "$file: has a statement on our tables, which belongs to src/table/"
    done < <(sources)
}

check_length() {
    local file lines

    while read -r file; do
        lines=$(wc -l < "$file")
        [ "$lines" -le $MAX_LINES ] ||
            violation "$file: $lines lines, more than $MAX_LINES"
    done < <(sources)
}

# Functions that headers declare; a function that a header does not declare
# must be static, which the compiler checks (-Wmissing-prototypes).  Those of
# fault points are called by macros.
check_linkage() {
    local header name

    while read -r header; do
        while read -r name; do
            grep -lw --include='*.[ch]' -r "$name" seckill.c src |
                grep -qv -x -e "$header" -e "${header%.h}.c" ||
                violation "$header: $name is used by no other file"
        done < <(code "$header" | tr '\n' ' ' | tr ';' '\n' |
            sed -n 's/.*\<extern\>[^(]*\<\([a-zA-Z_0-9]*\)(.*/\1/p')
    done < <(find src -name '*.h' ! -path src/base/fault.h)
}

# The modules of model/ in the order of the list in lease_model.c's head
model_list() {
    sed -n '1,/^ \*\//s/^ \* \([a-z_]*\)\.[ch]\t.*/\1/p' model/lease_model.c
}

# "file module header" for each include in quotes
model_includes() {
    local file module

    for file in model/*.[ch]; do
        module=${file#model/}
        module=${module%.[ch]}
        sed -n "s|^#include \"\([^\"]*\)\".*|$file $module \1|p" "$file"
    done
}

check_model() {
    local list file module header

    list=$(model_list)
    for file in model/*.[ch]; do
        module=${file#model/}
        grep -qx "${module%.[ch]}" <<< "$list" ||
            violation "$file: is not in the list of model/lease_model.c"
    done
    while read -r file module header; do
        case $header in
            ../src/shmem/counters.h | ../src/shmem/numbers.h)
                [ "$file" = model/model.h ] ||
                    violation "$file: includes $header, which is for model/model.h"
                continue
                ;;
        esac
        [ "$header" != "$module.h" ] || continue
        awk -v m="$module" 'below; $0 == m { below = 1 }' <<< "$list" |
            grep -qx "${header%.h}" ||
            violation "$file: includes $header, which is not further down in the list of model/lease_model.c"
    done < <(model_includes)
}

check_includes
check_words
check_statements
check_length
check_linkage
check_model
[ $failed -ne 0 ] || echo "layers: ok"
exit $failed
