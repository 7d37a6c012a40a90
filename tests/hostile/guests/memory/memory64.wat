;; A memory with addresses of 64 bits, of which it wants sixteen exabytes.
;; expect: refused memory64
(component
  (core module $m (memory i64 1 0x1000000000000))
  (export "capstan:plugin/step@wit" (instance $none))
  (instance $none))
