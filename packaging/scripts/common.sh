# What the scripts of the .deb and of the .rpm have in common; packaging/release puts it into each of them. POSIX sh.
# Not by PATH, in which another may come first.
LANDFALL=/usr/bin/landfall
CONFIG=/etc/landfall/landfall.toml
STATE=/var/lib/landfall
UNIT=landfall.service
OWN_UNIT=/etc/systemd/system/landfall.service
DROP_INS=/etc/systemd/system/landfall.service.d
MARK='# Written by `landfall service install`'
# Jobs in flight, from before an upgrade until after it. It is there, and be it empty, while one is under way.
IN_FLIGHT=/run/landfall.upgrade
JOBS_SHOWN_MAX=20
# A stop may take 45 s, and a start waits up to 10 s for a folder that hangs. What takes longer goes on by itself.
START_TAKES=90

say() { printf 'landfall: %s\n' "$*"; }
more() { printf '          %s\n' "$*"; }
indented() { sed 's/^/          /'; }
systemd_runs() { [ -d /run/systemd/system ]; }
state() { systemctl show --property=ActiveState --value "$UNIT" 2>/dev/null; }
# What the service says is its user's, and for no terminal to obey.
printable() { tr -d '\000-\010\013-\037\177'; }
status_text() { systemctl show --property=StatusText --value "$UNIT" 2>/dev/null | printable; }
log_since() { journalctl --unit="$UNIT" --since="@$1" --no-pager --output=cat 2>/dev/null | tail -n 8 | printable; }
# Whether a unit of /etc is in force, which no package made: the service, its configuration and its links are not the package's then.
is_by_hand() { [ -e "$OWN_UNIT" ]; }
tell_by_hand() { say "the service runs by $OWN_UNIT, which is not of this package: it is left as it is, with its configuration"; }

# `ID STATE RULE SOURCE` of each job that has not ended, in whatever state. Fails where nobody can be asked.
not_ended() {
    listed=$(timeout 20 "$LANDFALL" jobs --unfinished --config "$CONFIG" 2>/dev/null) || return 1
    printf '%s\n' "$listed" |
        awk 'length($1) == 26 { printf "%s %s %s", $1, $2, $3; for (i = 6; i <= NF; i++) printf " %s", $i; print "" }'
}
# Those of them that need nobody.
in_flight() {
    listing=$(not_ended) || return 1
    printf '%s\n' "$listing" | awk '$2 ~ /^(queued|running|publishing|retiring)$/'
}
# How many these are; 0 where nobody knows.
count_in_flight() { listing=$(in_flight) || listing=; printf '%s' "$listing" | grep -c '' || true; }

# Before the files are exchanged: the old program asks the old service, which may speak otherwise than the new one.
note_jobs_in_flight() {
    rm -f "$IN_FLIGHT"
    (umask 077 && : >"$IN_FLIGHT")
    if systemd_runs && [ "$(state)" = active ]; then in_flight >"$IN_FLIGHT" || true; fi
}

tell_jobs_in_flight() {
    [ -s "$IN_FLIGHT" ] || return 0
    say "jobs in flight at the upgrade: $(wc -l <"$IN_FLIGHT"). What became of each:"
    now=$(not_ended) || {
        more "nobody can be asked now. Each that was not done goes on when the service runs: landfall jobs --unfinished"
        return 0
    }
    goes_on="goes on after the upgrade"
    [ "$(state)" = active ] || goes_on="stands still until the service runs"
    head -n "$JOBS_SHOWN_MAX" "$IN_FLIGHT" | while read -r id was rule source; do
        is=$(printf '%s\n' "$now" | awk -v id="$id" '$1 == id { print $2 }')
        case $is in
        '') more "$id $rule $source: was $was, has ended: landfall show $id" ;;
        queued | running | publishing | retiring) more "$id $rule $source: was $was, $goes_on ($is)" ;;
        *) more "$id $rule $source: was $was, is $is: landfall show $id" ;;
        esac
    done
    shown=$(($(wc -l <"$IN_FLIGHT") - JOBS_SHOWN_MAX))
    [ "$shown" -le 0 ] || more "and $shown more: landfall jobs --unfinished"
}

# What this version says against the configuration. It keeps nothing from starting: the service goes by the last one that was right.
tell_refused_configuration() {
    [ -e "$CONFIG" ] || return 0
    refused=0
    # Without root's terminal: whoever the service's user is could take it.
    said=$(cd / && timeout 60 setsid --wait runuser -u landfall -- "$LANDFALL" check --config "$CONFIG" 2>&1 </dev/null) || refused=$?
    case $refused in
    0) return 0 ;;
    2) say "this version refuses the configuration, or part of it (landfall check --config $CONFIG):" ;;
    *) say "landfall check --config $CONFIG ended with $refused:" ;;
    esac
    printf '%s\n' "$said" | tail -n 20 | printable | indented
    [ $refused != 2 ] || [ "$(state)" != active ] ||
        more "Mend it; it is taken when it is saved. Until then the service goes by the last one that was right."
}

# How the start, or the restart, that began then has come out. A service that does not start is told, and no error of the package's.
tell_start() {
    case $(state) in
    active | reloading) say "the service runs: $(status_text)" ;;
    activating)
        if [ "$(systemctl show --property=SubState --value "$UNIT")" = auto-restart ]; then tell_failure "$1"
        else say "the service is not ready yet, and goes on: $(status_text); landfall service status"; fi ;;
    *) tell_failure "$1" ;;
    esac
}

tell_failure() {
    say "the service does NOT run. Its log says:"
    log_since "$1" | indented
    more "Nothing is lost: files wait where they lie. When the cause is mended: landfall service start"
    more "Was the data folder opened by a newer version? Then install that version again: no older one reads it."
}

# A unit of `landfall service install` lies before the package's.
tell_hidden_unit() {
    [ -e "$OWN_UNIT" ] || return 0
    say "$OWN_UNIT hides the unit of this package:"
    if head -n 1 "$OWN_UNIT" 2>/dev/null | grep -qF "$MARK"; then
        more "\`landfall service install\` wrote it, for $(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$OWN_UNIT" | tail -n 1). To go over to the package's:"
        more "landfall service uninstall && landfall service install && landfall service start"
    else
        more "it is your own, and stays in force. What differs from the package's belongs into a drop-in: systemctl edit landfall"
    fi
}

tell_next_step() {
    say "nothing is watched yet. Next:"
    more "1. name your folders in $CONFIG, and take \`mode = \"off\"\` out; landfall check"
    more "2. landfall service install    lets the service write in these folders (a drop-in), and names those it may not"
    more "3. systemctl restart landfall  so that it may; landfall status"
    more "Later changes are taken when they are saved; systemctl reload landfall waits for it, and says what is wrong."
    more "man landfall; examples: /usr/share/doc/landfall/examples"
}

# The configuration may get passwords: it is for root and the service. One that is there stays.
make_configuration() {
    [ ! -e "$CONFIG" ] && [ ! -L "$CONFIG" ] || return 0
    mkdir -p "${CONFIG%/*}"
    install -m 640 -o root -g landfall /usr/share/landfall/landfall.toml "$CONFIG"
}

# Starts, or restarts, by the command given, and says what came of it.
bring_up() {
    begun=$(date +%s)
    said=$(timeout "$START_TAKES" "$@" 2>&1) || true
    case $said in
    *policy-rc.d*) say "policy-rc.d keeps this package from it; when you are ready: systemctl restart landfall"; return 0 ;;
    esac
    tell_start "$begun"
    tell_jobs_in_flight
}

# The service is what it was before: one that an operator stopped stays so.
restart() {
    case $(state) in
    active | activating | reloading | failed)
        at=$(status_text)
        say "restarts the service${at:+; it was at: $at}"
        bring_up "$@" ;;
    *) say "the service was stopped, and stays so: landfall service start" ;;
    esac
}

tell_left() {
    say "left as they are, since they hold what was ingested or is not done:"
    [ ! -d "$STATE" ] || more "$STATE: the store and working data"
    more "files that were claimed lie in the \`.landfall\` beside each watched folder; archives and outputs lie where rules had them"
}

# Drop-ins of `landfall service install` go, others are an administrator's.
remove_drop_ins() {
    folders=$(sed -n 's/^ReadWritePaths=-*//p' "$DROP_INS"/*.conf 2>/dev/null | tr '\n' ' ')
    for file in "$DROP_INS"/*.conf; do
        [ -f "$file" ] && head -n 1 "$file" | grep -qF "$MARK" && rm -f "$file"
    done
    rmdir "$DROP_INS" 2>/dev/null || true
}
