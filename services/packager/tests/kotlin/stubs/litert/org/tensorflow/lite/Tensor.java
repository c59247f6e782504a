package org.tensorflow.lite;

/** What the wrapper asks of a tensor, with the genuine names and types. */
public interface Tensor {
  DataType dataType();

  int[] shape();

  int numElements();

  int numBytes();
}
