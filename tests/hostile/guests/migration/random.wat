;; Translates into random numbers, which are the same whenever the same is translated.
;; kind: scheduler
;; manifest: plugin.wasi = "stub"
;; with: import wasi:random/random@0.2.0;
;; call: migrate
;; expect: answers
(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
(func (export "migration#migrate") (param i32 i32 i32 i32 i32 i32) (result i32)
  (i64.store (i32.const 144) (call $random))
  (i32.store (i32.const 132) (i32.const 144)) (i32.store (i32.const 136) (i32.const 8))
  (i32.const 128))
