# A record as `kcat -J` prints it, as an event: its headers by name, its place, its key, its data (null if it is no JSON object).
def event:
  (.headers // []) as $pairs
  | ([range(0; $pairs | length; 2) | {key: $pairs[.], value: $pairs[. + 1]}] | from_entries)
    + {place: "\(.partition):\(.offset)", key, data: ((.payload | fromjson? | objects) // null)};
