;; A header of a megabyte.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 40)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 1000000))
  (call $request (text "GET") (text "http://127.0.0.1:{port}/") (text "X-A") (i32.const 131072) (i32.const 1000000)))
