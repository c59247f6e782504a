package android.view;

import android.content.Context;

public class View {
  public interface OnClickListener {
    void onClick(View view);
  }

  public View(Context context) {}
  public void setOnClickListener(OnClickListener listener) {}
  public boolean isEnabled() { return true; }
  public void setEnabled(boolean enabled) {}
  public boolean getFitsSystemWindows() { return false; }
  public void setFitsSystemWindows(boolean fits) {}
}
