;; A body of ten megabytes.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends a body of at most
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 400)))
  (call $http.fetch (text "POST") (text "http://127.0.0.1:{port}/") (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 10000000) (i32.const 2000) (i32.const 256))
  (call $pass-on))
