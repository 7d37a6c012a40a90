;; Ten thousand headers.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends at most 100 headers
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 10)))
  (call $http.fetch (text "GET") (text "http://127.0.0.1:{port}/") (i32.const 131072) (i32.const 10000)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2000) (i32.const 256))
  (call $pass-on))
