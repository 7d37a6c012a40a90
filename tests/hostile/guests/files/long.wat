;; A path of a hundred thousand bytes.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends a path inside the farm's folder
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 10)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 100000))
  (call $append (i32.const 131072) (i32.const 100000) (text "x")))
