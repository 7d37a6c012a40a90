;; Declares four gigabytes of memory that it must have before anything is called.
;; expect: refused exceeds the limit
(memory $memory (export "memory") 65536)
