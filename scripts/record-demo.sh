#!/usr/bin/env bash
# Records scripts/demo.sh as it plays in a terminal of 1280 × 720: docs/demo.mp4, and docs/demo.gif, a small picture that
# moves. scripts/record-demo.sh [FOLDER]   (docs)
# Needs: apt-get install tmux xvfb xterm ffmpeg fonts-dejavu-core
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."
case " $* " in *' -h '* | *' --help '*) sed -n '2,4s/^# //p' "$self"; exit 0 ;; esac
folder=${1:-docs}
width=1280 height=720

for program in tmux Xvfb xterm ffmpeg; do
  command -v "$program" >/dev/null && continue
  printf "record-demo: %s is not installed: %s\n" "$program" "$(sed -n '4s/^# Needs: //p' "$self")" >&2
  exit 1
done
scripts/demo.sh --help >/dev/null
cmake --preset release >/dev/null
cmake --build build/release --target kvd kvctl --parallel "$(nproc)" >/dev/null

scratch=$(mktemp -d)
running=()
end() {
  for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap end EXIT

# Xvfb chooses a display that is free, and writes its number when it is ready.
mkfifo "$scratch/display"
Xvfb -displayfd 3 -screen 0 ${width}x${height}x24 -nolisten tcp 3>"$scratch/display" 2>"$scratch/xvfb.log" &
running+=($!)
read -r number <"$scratch/display"
export DISPLAY=:$number

# What is played, and how it ended: the terminal's own exit status is lost.
cat >"$scratch/play" <<END
#!/bin/sh
KVD_BIN=build/release/kvd KVCTL_BIN=build/release/kvctl scripts/demo.sh 2>"$scratch/errors"
echo \$? >"$scratch/status"
END
chmod +x "$scratch/play"
xterm -geometry 160x48+0+0 -b 0 -bw 0 +sb -fa 'DejaVu Sans Mono' -fs 9 -bg black -fg gray90 -e "$scratch/play" &
terminal=$!
running+=("$terminal")
ffmpeg -loglevel error -y -f x11grab -draw_mouse 0 -framerate 10 -video_size ${width}x${height} -i "$DISPLAY" -t 120 \
  -c:v libx264 -preset veryslow -crf 30 -pix_fmt yuv420p -movflags +faststart "$scratch/demo.mp4" &
recorder=$!
running+=("$recorder")
wait "$terminal" || true
kill -INT "$recorder" 2>/dev/null || true
wait "$recorder" || true
if [[ $(cat "$scratch/status" 2>/dev/null) != 0 ]]; then
  cat "$scratch/errors" >&2
  printf 'record-demo: the demonstration did not come to its end\n' >&2
  exit 1
fi
ffmpeg -loglevel error -y -i "$scratch/demo.mp4" -filter_complex \
  "setpts=PTS/2,fps=3,scale=960:-1:flags=lanczos,split[a][b];[a]palettegen=max_colors=16[p];[b][p]paletteuse=dither=none:diff_mode=rectangle" \
  "$scratch/demo.gif"
mv "$scratch/demo.mp4" "$scratch/demo.gif" "$folder/"
chmod 644 "$folder/demo.mp4" "$folder/demo.gif"
ls -l "$folder/demo.mp4" "$folder/demo.gif"
