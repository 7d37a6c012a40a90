;; The home folder, as a shell would read it: it is a folder of that name.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends a path inside the farm's folder
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "~/../../outside/file") (text "escaped")))
