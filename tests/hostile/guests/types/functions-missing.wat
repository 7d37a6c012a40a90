;; The interface without its functions.
;; expect: refused cannot be used
(component (instance $none) (export "capstan:plugin/step@wit" (instance $none)))
